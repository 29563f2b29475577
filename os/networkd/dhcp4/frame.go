package dhcp4

import (
	"encoding/binary"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const (
	clientPort = 68
	serverPort = 67

	ipHeader  = 20 // without options
	udpHeader = 8
	hopLimit  = 64
	dontFrag  = 0x4000
	fragment  = 0x1fff // the offset's bits
)

// broadcastFrame puts a message into IPv4 and UDP headers from an address that is
// none to everyone, as only a client without an address does.
func broadcastFrame(message []byte) []byte {
	b := make([]byte, ipHeader+udpHeader, ipHeader+udpHeader+len(message))
	ip, udp := b[:ipHeader], b[ipHeader:]
	b = append(b, message...)
	ip[0] = 4<<4 | ipHeader/4
	binary.BigEndian.PutUint16(ip[2:], uint16(len(b)))
	binary.BigEndian.PutUint16(ip[6:], dontFrag)
	ip[8], ip[9] = hopLimit, unix.IPPROTO_UDP
	copy(ip[16:], []byte{255, 255, 255, 255})
	binary.BigEndian.PutUint16(ip[10:], checksum(ip))
	binary.BigEndian.PutUint16(udp, clientPort)
	binary.BigEndian.PutUint16(udp[2:], serverPort)
	binary.BigEndian.PutUint16(udp[4:], uint16(udpHeader+len(message)))
	pseudo := append([]byte{0, unix.IPPROTO_UDP}, udp[4:6]...)
	pseudo = append(pseudo, ip[12:20]...)
	sum := checksum(append(pseudo, b[ipHeader:]...))
	if sum == 0 {
		sum = 0xffff // RFC 768: zero is for none
	}
	binary.BigEndian.PutUint16(udp[6:], sum)
	return b
}

// payload finds the message in an IPv4 packet to the client's port.
// Checksums are not looked at: the kernel leaves them to hardware that packets
// between virtual machines never see.
func payload(b []byte) (message []byte, ok bool) {
	if len(b) < ipHeader || b[0]>>4 != 4 || b[9] != unix.IPPROTO_UDP || binary.BigEndian.Uint16(b[6:])&fragment != 0 {
		return nil, false
	}
	header, total := int(b[0]&0xf)*4, int(binary.BigEndian.Uint16(b[2:]))
	if header < ipHeader || total > len(b) || total < header+udpHeader {
		return nil, false
	}
	udp := b[header:total]
	length := int(binary.BigEndian.Uint16(udp[4:]))
	if binary.BigEndian.Uint16(udp[2:]) != clientPort || length < udpHeader || length > len(udp) {
		return nil, false
	}
	return udp[udpHeader:length], true
}

// checksum is that of RFC 1071.
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// filter has the kernel pass on only packets that payload understands.
func filter() []bpf.RawInstruction {
	program, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 9, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_UDP, SkipTrue: 6},
		bpf.LoadAbsolute{Off: 6, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: fragment, SkipTrue: 4},
		bpf.LoadMemShift{Off: 0},
		bpf.LoadIndirect{Off: 2, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: clientPort, SkipTrue: 1},
		bpf.RetConstant{Val: 0xffff},
		bpf.RetConstant{Val: 0},
	})
	if err != nil {
		panic(err) // the program is constant
	}
	return program
}
