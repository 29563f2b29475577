// Package nbd serves a disk image to a virtual machine while a test looks on: every
// read of the machine's firmware and system is a call of the test's own.
//
// It is the Network Block Device protocol with the old way of negotiating, which has
// one export without a name, read-only. What a client may not send ends the connection.
package nbd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// Numbers of the protocol, all big-endian in it.
const (
	helloMagic    = "NBDMAGIC"
	oldStyleMagic = 0x00420281861253
	requestMagic  = 0x25609513
	replyMagic    = 0x67446698

	flagsReadOnly = 1<<0 | 1<<1 // that there are flags, and this one

	commandRead       = 0
	commandWrite      = 1
	commandDisconnect = 2

	notPermitted = 1 // EPERM
	invalid      = 22

	maxLength = 32 << 20 // bytes, what clients may ask for without having been told of another limit
)

// hello is all that the server says before the first request.
type hello struct {
	Magic    [8]byte
	OldStyle uint64
	Size     uint64
	Flags    uint32
	Reserved [124]byte
}

// request asks for something.
type request struct {
	Magic   uint32
	Flags   uint16
	Command uint16
	Cookie  uint64
	Offset  uint64
	Length  uint32
}

// reply answers the request with its cookie; data follow if Error is 0.
type reply struct {
	Magic  uint32
	Error  uint32
	Cookie uint64
}

// Serve serves an image of size bytes until the listener is closed, and returns when
// no client is left.
func Serve(l net.Listener, image io.ReaderAt, size int64) error {
	var clients sync.WaitGroup
	defer clients.Wait()
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		} else if err != nil {
			return fmt.Errorf("waiting for a client of a disk: %w", err)
		}
		clients.Go(func() {
			defer conn.Close()
			serve(conn, image, size) // a client that breaks off has said so to its user
		})
	}
}

// serve is for one client. It returns nil if the client said goodbye.
func serve(conn io.ReadWriter, image io.ReaderAt, size int64) error {
	h := hello{OldStyle: oldStyleMagic, Size: uint64(size), Flags: flagsReadOnly}
	copy(h.Magic[:], helloMagic)
	if err := binary.Write(conn, binary.BigEndian, h); err != nil {
		return err
	}
	for {
		var r request
		if err := binary.Read(conn, binary.BigEndian, &r); err != nil {
			return fmt.Errorf("reading a request: %w", err)
		}
		switch {
		case r.Magic != requestMagic:
			return fmt.Errorf("a request begins with %#x", r.Magic)
		case r.Command == commandDisconnect:
			return nil
		case r.Length > maxLength:
			return fmt.Errorf("a request is for %d bytes, more than %d", r.Length, maxLength)
		}
		answer, data := reply{Magic: replyMagic, Cookie: r.Cookie}, []byte(nil)
		switch r.Command {
		case commandRead:
			if end := uint64(size); r.Offset > end || uint64(r.Length) > end-r.Offset {
				answer.Error = invalid
				break
			}
			data = make([]byte, r.Length)
			if n, err := image.ReadAt(data, int64(r.Offset)); n < len(data) {
				return fmt.Errorf("reading the image: %w", err)
			}
		case commandWrite:
			answer.Error = notPermitted
			if _, err := io.CopyN(io.Discard, conn, int64(r.Length)); err != nil {
				return err
			}
		default:
			answer.Error = invalid
		}
		if err := binary.Write(conn, binary.BigEndian, answer); err != nil {
			return err
		}
		if _, err := conn.Write(data); err != nil {
			return err
		}
	}
}
