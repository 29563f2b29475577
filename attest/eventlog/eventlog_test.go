package eventlog_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"reflect"
	"strings"
	"testing"

	"github.com/ember-os/ember/attest/attesttest"
	"github.com/ember-os/ember/attest/eventlog"
)

func events() []attesttest.Event {
	return []attesttest.Event{
		{PCR: 7, Type: attesttest.Variable, Data: []byte("variable")},
		{PCR: 0, Type: attesttest.NoAction, Data: []byte("StartupLocality")},
		{PCR: 4, Type: attesttest.Separator, Data: make([]byte, 4)},
		{PCR: 11, Type: attesttest.IPL, Digest: bytes.Repeat([]byte{0xff}, 32)},
	}
}

func TestParse(t *testing.T) {
	want := []eventlog.Event{
		{PCR: 7, Type: attesttest.Variable, Digest: sha256.Sum256([]byte("variable")), Data: []byte("variable")},
		{PCR: 4, Type: eventlog.Separator, Digest: sha256.Sum256(make([]byte, 4)), Data: make([]byte, 4)},
		{PCR: 11, Type: attesttest.IPL, Digest: [32]byte(bytes.Repeat([]byte{0xff}, 32)), Data: []byte{}},
	}
	log := attesttest.Log(events()...)
	for _, zeros := range []int{0, 1, 4096} {
		got, err := eventlog.Parse(append(bytes.Clone(log), make([]byte, zeros)...))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("with %d zeros: %+v, %v", zeros, got, err)
		}
	}
	value := eventlog.Replay(want, 11)
	if value != sha256.Sum256(append(make([]byte, 32), want[2].Digest[:]...)) || eventlog.Replay(want, 9) != [32]byte{} {
		t.Errorf("PCR 11 is %x", value)
	}
}

// several writes a log with SHA-1 and SHA-256, in the order that a TPM has them.
func several(data string) []byte {
	var b bytes.Buffer
	put := func(values ...any) {
		for _, v := range values {
			binary.Write(&b, binary.LittleEndian, v)
		}
	}
	put(uint32(0), uint32(eventlog.NoAction), make([]byte, 20), uint32(37), []byte("Spec ID Event03\x00"), uint32(0), []byte{0, 2, 0, 2},
		uint32(2), uint16(4), uint16(20), uint16(11), uint16(32), byte(0))
	put(uint32(9), uint32(eventlog.EventTag), uint32(2), uint16(4), make([]byte, 20), uint16(11), sha256.Sum256([]byte(data)), uint32(len(data)), []byte(data))
	return b.Bytes()
}

func TestSeveralBanks(t *testing.T) {
	got, err := eventlog.Parse(several("data"))
	if err != nil || len(got) != 1 || got[0].Digest != sha256.Sum256([]byte("data")) || string(got[0].Data) != "data" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestRefused(t *testing.T) {
	log := several("data")
	for i := range log {
		events, err := eventlog.Parse(log[:i])
		if err == nil && len(events) > 0 {
			t.Errorf("the first %d bytes are %+v", i, events)
		}
	}
	const spec, first = 32, 32 + 37 // where the first event's data is, and the second event
	for name, c := range map[string]struct {
		at   int
		to   byte
		want string
	}{
		"a TPM 1.2's":           {spec + 14, '2', "TPM 2.0"},
		"without SHA-256":       {spec + 32, 12, "no SHA-256 digests"},
		"a long SHA-256":        {spec + 34, 48, "no SHA-256 digests"},
		"PCR 24":                {first, 24, "PCR 24"},
		"another algorithm":     {first + 12, 13, "algorithm 0xd"},
		"no digest":             {first + 8, 0, "no SHA-256 digest"},
		"SHA-1 alone":           {first + 8, 1, "cut short"},
		"more digests":          {first + 8, 3, "3 digests, and the log names 2"},
		"data that is too long": {first + 12 + 22 + 34, 255, "cut short"},
	} {
		bad := bytes.Clone(log)
		bad[c.at] = c.to
		if events, err := eventlog.Parse(bad); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %+v, %v; want %q", name, events, err, c.want)
		}
	}
}

// Whatever is in a log, what is read of it is in it.
func FuzzParse(f *testing.F) {
	f.Add(several("data"))
	f.Add(attesttest.Log(events()...))
	f.Fuzz(func(t *testing.T, log []byte) {
		events, err := eventlog.Parse(log)
		if err != nil {
			return
		}
		for _, e := range events {
			if e.PCR < 0 || e.PCR > 23 || !bytes.Contains(log, e.Digest[:]) || !bytes.Contains(log, e.Data) {
				t.Errorf("%+v", e)
			}
		}
		eventlog.Replay(events, 11)
	})
}
