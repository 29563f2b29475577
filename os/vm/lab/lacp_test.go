package lab

import (
	"bytes"
	"encoding/hex"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// golden is a LACPDU by hand from IEEE 802.1AX-2020, figure 6-7.
var golden = unhex(`
	0180c2000002 525400120101 8809 01 01
	01 14 ffff 525400120101 0009 00ff 0002 3f 000000
	02 14 8000 021acb000100 0001 00ff 0003 c7 000000
	03 10 0000 000000000000000000000000
	00 00` + strings.Repeat("00", 50))

var goldenPDU = lacpdu{
	Source: mac{0x52, 0x54, 0, 0x12, 1, 1},
	Actor: actor{0xffff, mac{0x52, 0x54, 0, 0x12, 1, 1}, 9, 0xff, 2,
		lacpActive | lacpShortTimeout | lacpAggregation | lacpSynchronised | lacpCollecting | lacpDistributing},
	Partner: actor{0x8000, mac{0x02, 0x1a, 0xcb, 0, 1, 0}, 1, 0xff, 3,
		lacpActive | lacpShortTimeout | lacpAggregation | lacpDefaulted | lacpExpired},
}

func unhex(text string) []byte {
	b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		panic(err)
	}
	return b
}

func TestLACPDU(t *testing.T) {
	if got := goldenPDU.frame(); !bytes.Equal(got, golden) {
		t.Errorf("got  %x\nwant %x", got, golden)
	}
	if got, err := parseLACP(golden); !isLACP(golden) || err != nil || got != goldenPDU {
		t.Errorf("got %+v, %v", got, err)
	}
}

func FuzzLACPDU(f *testing.F) {
	f.Add(golden)
	f.Add(golden[:headerLen+20])
	f.Fuzz(func(t *testing.T, frame []byte) {
		if !isLACP(frame) {
			return
		}
		p, err := parseLACP(frame)
		if err != nil {
			return
		}
		if again, err := parseLACP(p.frame()); err != nil || again != p {
			t.Errorf("%+v became %+v, %v", p, again, err)
		}
	})
}

// sink is a port that keeps what is sent there.
type sink struct {
	mu     sync.Mutex
	frames [][]byte
}

func (s *sink) send(frame []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frames = append(s.frames, bytes.Clone(frame))
}

// take returns the frames sent since the last time.
func (s *sink) take() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	frames := s.frames
	s.frames = nil
	return frames
}

// data returns those of them that are no LACPDUs.
func data(frames [][]byte) (data [][]byte) {
	for _, f := range frames {
		if !isLACP(f) {
			data = append(data, f)
		}
	}
	return data
}

// said returns the LACPDU that was sent last.
func (s *sink) said(t *testing.T) lacpdu {
	t.Helper()
	var last lacpdu
	for _, f := range s.take() {
		if isLACP(f) {
			var err error
			if last, err = parseLACP(f); err != nil {
				t.Fatal(err)
			}
		}
	}
	return last
}

// bond is the machine's end of member number port of an aggregate.
func bond(system byte, port uint16, state uint8) []byte {
	m := mac{2, 0, 0, 0, 0, system}
	return lacpdu{Source: m, Actor: actor{0xffff, m, 9, 0xff, port, lacpActive | lacpAggregation | state}}.frame()
}

func TestAggregate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const up = lacpSynchronised | lacpCollecting | lacpDistributing
		h, lan := newHub(), &sink{}
		a := &aggregate{system: mac{2, 0, 0, 0, 1, 0}, hub: h}
		h.attach(a)
		h.attach(lan)
		outs := []*sink{{}, {}, {}}
		var members []*member
		for _, out := range outs {
			members = append(members, a.join(out))
		}

		hello := frame(mac{2, 9}, mac{2, 8}, "hello")
		members[0].receive(hello)
		h.forward(lan, hello)
		if got := len(data(lan.take())) + len(data(outs[0].take())); got != 0 {
			t.Fatalf("%d frames crossed an aggregate without LACP", got)
		}

		for i, system := range []byte{1, 1, 2} { // the third is another machine's
			members[i].receive(bond(system, uint16(i+1), lacpSynchronised))
		}
		for i, want := range []uint8{up, up, 0} {
			if got := outs[i].said(t).Actor.State & up; got != want {
				t.Errorf("member %d is in state %#x, want %#x", i, got, want)
			}
		}
		for i, want := range []int{1, 1, 0} {
			members[i].receive(hello)
			if got := len(lan.take()); got != want {
				t.Errorf("from member %d came %d frames, want %d", i, got, want)
			}
		}
		used := map[int]bool{}
		for i := range 64 {
			h.forward(lan, frame(mac{2, 9}, mac{2, 8, byte(i)}, "hello"))
			copies := 0
			for n, out := range outs {
				if got := len(data(out.take())); got > 0 {
					copies += got
					used[n] = true
				}
			}
			if copies != 1 {
				t.Fatalf("a frame was sent %d times", copies)
			}
		}
		if !used[0] || !used[1] {
			t.Errorf("frames left at %v only", used)
		}

		time.Sleep(lacpTimeout / 2)
		members[0].receive(bond(1, 1, up))
		time.Sleep(lacpTimeout / 2) // the cable of the second was pulled
		for i := range 64 {
			h.forward(lan, frame(mac{2, 9}, mac{2, 8, byte(i)}, "hello"))
		}
		if first, second := len(data(outs[0].take())), len(data(outs[1].take())); first != 64 || second != 0 {
			t.Errorf("of 64 frames %d left at the member that is left, %d at the other", first, second)
		}
	})
}
