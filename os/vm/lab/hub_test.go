package lab

import (
	"bytes"
	"encoding/binary"
	"testing"
	"testing/synctest"
	"time"
)

func frame(to, from mac, payload string) []byte {
	b := append(append(to[:], from[:]...), 0x88, 0xb5) // for experiments
	return append(b, payload...)
}

func TestHub(t *testing.T) {
	var (
		everyone         = mac{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
		first, second    = mac{2, 0, 0, 0, 0, 1}, mac{2, 0, 0, 0, 0, 2}
		a, b, plain, tag = &sink{}, &sink{}, &sink{}, &sink{}
	)
	h := newHub()
	h.attach(a)
	h.attach(b)
	native := &segment{slow: &slowDHCP{}, out: plain.send}
	vlan := &segment{vlan: 7, slow: &slowDHCP{}, out: tag.send}
	h.attach(native)
	h.attach(vlan)
	for _, step := range []struct {
		what                string
		do                  func()
		inA, inB, inN, inV7 []byte
	}{
		{"to everyone", func() { h.forward(a, frame(everyone, first, "1")) },
			nil, frame(everyone, first, "1"), frame(everyone, first, "1"), nil},
		{"to an address that was learned", func() { h.forward(b, frame(first, second, "2")) },
			frame(first, second, "2"), nil, nil, nil},
		{"back to where it came from", func() { h.forward(b, frame(second, second, "3")) },
			nil, nil, nil, nil},
		{"with a tag", func() { h.forward(a, tagged(frame(everyone, first, "4"), 7)) },
			nil, tagged(frame(everyone, first, "4"), 7), nil, frame(everyone, first, "4")},
		{"with another tag", func() { h.forward(a, tagged(frame(everyone, first, "5"), 8)) },
			nil, tagged(frame(everyone, first, "5"), 8), nil, nil},
		{"from a VLAN", func() { vlan.receive(h, frame(first, second, "6")) },
			tagged(frame(first, second, "6"), 7), nil, nil, nil},
		{"to the same address in another VLAN", func() { h.forward(a, frame(second, first, "7")) },
			nil, frame(second, first, "7"), nil, nil},
		{"after it moved", func() { h.forward(b, frame(everyone, first, "8")); native.receive(h, frame(first, second, "9")) },
			frame(everyone, first, "8"), frame(first, second, "9"), frame(everyone, first, "8"), nil},
		{"for the next bridge only", func() { h.forward(a, golden) }, nil, nil, nil, nil},
		{"too short", func() { h.forward(a, []byte{1, 2, 3}); native.receive(h, nil) }, nil, nil, nil, nil},
	} {
		step.do()
		for name, port := range map[string]struct {
			*sink
			want []byte
		}{"a": {a, step.inA}, "b": {b, step.inB}, "native": {plain, step.inN}, "VLAN": {tag, step.inV7}} {
			if got := bytes.Join(port.take(), nil); !bytes.Equal(got, port.want) {
				t.Errorf("%s: at %s came %x, want %x", step.what, name, got, port.want)
			}
		}
	}
}

// udpFrame is an untagged UDP datagram to port.
func udpFrame(v6 bool, port uint16) []byte {
	b := make([]byte, headerLen+48)
	binary.BigEndian.PutUint16(b[typeAt:], 0x0800)
	b[headerLen], b[headerLen+9] = 0x45, 17
	at := headerLen + 22
	if v6 {
		binary.BigEndian.PutUint16(b[typeAt:], 0x86dd)
		b[headerLen], b[headerLen+6] = 0x60, 17
		at = headerLen + 42
	}
	binary.BigEndian.PutUint16(b[at:], port)
	return b
}

func TestSlowDHCP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, v6 := range []bool{false, true} {
			request, answer := udpFrame(v6, dhcp4Server), udpFrame(v6, dhcp4Client)
			if v6 {
				request, answer = udpFrame(v6, dhcp6Server), udpFrame(v6, dhcp6Client)
			}
			s := &slowDHCP{delay: time.Minute}
			s.request(udpFrame(v6, 53))
			if s.late(answer) {
				t.Error("it is late before it was asked")
			}
			s.request(request)
			time.Sleep(59 * time.Second)
			s.request(request)
			if !s.late(answer) || s.late(udpFrame(v6, 53)) {
				t.Error("in the minute not only DHCP answers are late")
			}
			time.Sleep(time.Second)
			if s.late(answer) {
				t.Error("it is late after the minute")
			}
		}
	})
}

func FuzzFrame(f *testing.F) {
	f.Add(golden)
	f.Add(tagged(golden, 7))
	f.Add(udpFrame(false, dhcp4Server))
	f.Add(udpFrame(true, dhcp6Client))
	f.Add([]byte("000000000000\b\x00000000000\x110000000000")) // an IPv4 header of no length
	f.Fuzz(func(t *testing.T, b []byte) {
		if p := udpTo(b); p != 0 && len(b) < headerLen+24 {
			t.Errorf("port %d in %d bytes", p, len(b))
		}
		h, out := newHub(), &sink{}
		s := &segment{vlan: tag(b), slow: &slowDHCP{delay: time.Second}, out: out.send}
		h.attach(s)
		h.forward(&sink{}, b)
		for _, got := range out.take() {
			if s.vlan != 0 {
				got = tagged(got, s.vlan)
			}
			if len(got) != len(b) || !bytes.Equal(got[:headerLen], b[:headerLen]) {
				t.Errorf("%x became %x", b, got)
			}
		}
	})
}
