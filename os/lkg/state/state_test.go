package state

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io"
	"strings"
	"testing"
	"time"
)

var example = Record{
	Sequence: 7, Good: B, Overlay: 42, Success: time.Unix(1795262400, 0).UTC(),
	TPM: true, Resets: 300, Attempts: 3,
	Slots: [2]Content{
		{System: Image{0x2000000, fill(0xa1)}, Config: Image{0x1234, fill(0xa2)}},
		{System: Image{0x2000001, fill(0xb1)}, Config: Image{0x1235, fill(0xb2)}},
	},
}

func fill(c byte) [32]byte { return [32]byte(bytes.Repeat([]byte{c}, 32)) }

// golden is what is before the zeros, and the sum.
var golden = strings.ReplaceAll(`454d4245524c4b47 0100 02 01 2c010000 0700000000000000 03000000 00000000
	c087016b00000000 2a00000000000000
	0000000200000000 A1 3412000000000000 A2
	0100000200000000 B1 3512000000000000 B2`, "\n\t", " ")

func goldenBytes(t *testing.T) [Size]byte {
	t.Helper()
	text := golden
	for _, c := range []string{"A1", "A2", "B1", "B2"} {
		text = strings.ReplaceAll(text, c, strings.Repeat(strings.ToLower(c), 32))
	}
	head, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil || len(head) != 208 {
		t.Fatal(len(head), err)
	}
	var b [Size]byte
	copy(b[:], head)
	copy(b[crcAt:], "\xb2\xd7\xdb\x12")
	return b
}

func TestGolden(t *testing.T) {
	want := goldenBytes(t)
	if got := example.Encode(); got != want {
		t.Errorf("got\n%x\nwant\n%x", got, want)
	}
	if got, err := Decode(want); err != nil || got != example {
		t.Errorf("got %+v, %v", got, err)
	}
}

// sum makes the checksum right, of what may be wrong otherwise.
func sum(b [Size]byte) [Size]byte {
	binary.LittleEndian.PutUint32(b[crcAt:], crc32.ChecksumIEEE(b[:crcAt]))
	return b
}

func TestDecodeErrors(t *testing.T) {
	good := example.Encode()
	for i := range Size * 8 {
		b := good
		b[i/8] ^= 1 << (i % 8)
		if _, err := Decode(b); err != ErrSum {
			t.Fatalf("bit %d: %v", i, err)
		}
	}
	if _, err := Decode([Size]byte{}); err != ErrBlank {
		t.Error(err)
	}
	for name, change := range map[string]func(b *[Size]byte){
		"magic":             func(b *[Size]byte) { b[0] = 'e' },
		"layout":            func(b *[Size]byte) { b[8] = 2 },
		"slot":              func(b *[Size]byte) { b[10] = 3 },
		"flag":              func(b *[Size]byte) { b[11] = 2 },
		"sequence":          func(b *[Size]byte) { b[16] = 0 },
		"reserved":          func(b *[Size]byte) { b[28] = 1 },
		"end":               func(b *[Size]byte) { b[crcAt-1] = 1 },
		"negative size":     func(b *[Size]byte) { b[55] = 0x80 },
		"good without file": func(b *[Size]byte) { clear(b[128:136]) },
	} {
		b := good
		change(&b)
		if _, err := Decode(sum(b)); err != ErrOther {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	b := example.Encode()
	f.Add(b[:])
	f.Add(make([]byte, Size))
	f.Fuzz(func(t *testing.T, in []byte) {
		var b [Size]byte
		copy(b[:], in)
		for _, b := range [][Size]byte{b, sum(b)} {
			if r, err := Decode(b); err == nil && r.Encode() != b {
				t.Errorf("%x is read as %+v", b, r)
			}
		}
	})
}

func FuzzRoundTrip(f *testing.F) {
	f.Add(uint64(1), byte(1), true, uint64(1), int64(1), uint32(0), uint32(0), int64(5), []byte("x"))
	f.Fuzz(func(t *testing.T, sequence uint64, good byte, flag bool, overlay uint64, success int64, resets, attempts uint32, size int64, sha []byte) {
		r := Record{Sequence: max(sequence, 1), Good: Slot(good % 3), Overlay: overlay, TPM: !flag, Resets: resets, Attempts: attempts}
		if success != 0 {
			r.Success = time.Unix(success&(1<<40-1)|1, 0).UTC()
		}
		for i, m := range r.images() {
			m.Size = max(size&(1<<62-1), 1) + int64(i)
			copy(m.SHA256[:], sha)
		}
		if got, err := Decode(r.Encode()); err != nil || got != r {
			t.Errorf("%+v came back as %+v, %v", r, got, err)
		}
	})
}

func TestFailures(t *testing.T) {
	withTPM, without := Record{TPM: true, Resets: 10, Attempts: 2}, Record{Attempts: 2}
	for _, tt := range []struct {
		r      Record
		resets uint32
		has    bool
		want   uint32
	}{
		{withTPM, 10, true, 0}, {withTPM, 11, true, 1}, {withTPM, 20, true, 10},
		{withTPM, 0, false, 2}, {withTPM, 3, true, 2}, {without, 50, true, 2}, {without, 0, false, 2},
	} {
		if got := tt.r.Failures(tt.resets, tt.has); got != tt.want {
			t.Errorf("%+v, resets %d %v: %d", tt.r, tt.resets, tt.has, got)
		}
	}
}

// disk is a file that can tear, lie and fail.
type disk struct {
	data   []byte
	tear   int   // bytes of the next write that arrive; -1 for all
	err    error // of the next write
	silent bool  // a write that does not arrive and gives no error
}

func (d *disk) ReadAt(p []byte, at int64) (int, error) {
	return bytes.NewReader(d.data).ReadAt(p, at)
}

func (d *disk) WriteAt(p []byte, at int64) (int, error) {
	n := len(p)
	if d.tear >= 0 {
		n = d.tear
	}
	if d.silent {
		return len(p), nil
	}
	if need := int(at) + len(p); need > len(d.data) {
		d.data = append(d.data, make([]byte, need-len(d.data))...)
	}
	copy(d.data[at:], p[:n])
	return n, d.err
}

func (d *disk) Sync() error { return nil }

func read(t *testing.T, d *disk) Pair {
	t.Helper()
	p, err := Read(d)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPair(t *testing.T) {
	for _, size := range []int{0, Size, FileSize} {
		d := &disk{data: make([]byte, size), tear: -1}
		p := read(t, d)
		if p.Err() != nil || p.Record != (Record{}) {
			t.Fatalf("blank: %+v, %v", p.Record, p.Err())
		}
		for i := uint64(1); i < 6; i++ {
			r := example
			r.Overlay = i
			p2, err := p.Write(d, r)
			r.Sequence = i
			if err != nil || p2.Record != r {
				t.Fatalf("%+v, %v", p2.Record, err)
			}
			if p = read(t, d); p != p2 {
				t.Errorf("read %+v, wrote %+v", p, p2)
			}
		}
	}
}

// TestTorn cuts the power after each byte of a write.
func TestTorn(t *testing.T) {
	d := &disk{tear: -1}
	p := read(t, d)
	for i := uint64(1); i <= 3; i++ {
		var err error
		if p, err = p.Write(d, Record{Overlay: i}); err != nil {
			t.Fatal(err)
		}
	}
	before := bytes.Clone(d.data)
	for n := range Size + 1 {
		d.data, d.tear = bytes.Clone(before), n
		_, err := p.Write(d, Record{Overlay: 4})
		got := read(t, d)
		if want := 3 + uint64(n/Size); n < crcAt && (got.Record.Overlay != 3 || err == nil) || n == Size && got.Record.Overlay != want || got.Err() != nil {
			t.Errorf("after %d bytes: %+v, %v, %v", n, got.Record, got.Err(), err)
		}
		d.tear = -1
		if again, err := got.Write(d, Record{Overlay: 5}); err != nil || read(t, d).Record.Overlay != 5 || again.Damaged() != nil {
			t.Errorf("after a torn write: %v", err)
		}
	}
}

func TestBadRecords(t *testing.T) {
	d := &disk{tear: -1}
	p := read(t, d)
	p, _ = p.Write(d, Record{Overlay: 1})
	if _, err := p.Write(d, Record{Overlay: 2}); err != nil {
		t.Fatal(err)
	}
	d.data[100]++
	if p := read(t, d); p.Record.Overlay != 2 || p.Err() != nil || !errors.Is(p.Damaged(), ErrSum) {
		t.Errorf("the older is bad: %+v, %v, %v", p.Record, p.Err(), p.Damaged())
	}
	d.data[100]--
	d.data[Stride+100]++
	if p := read(t, d); p.Record.Overlay != 1 || p.Err() != nil || !errors.Is(p.Damaged(), ErrSum) {
		t.Errorf("the newer is bad: %+v, %v, %v", p.Record, p.Err(), p.Damaged())
	}
	d.data[100]++
	p = read(t, d)
	if p.Record != (Record{}) || p.Err() == nil || !strings.Contains(p.Err().Error(), "both records") || !errors.Is(p.Err(), ErrSum) {
		t.Errorf("both bad: %+v, %v", p.Record, p.Err())
	}
	clear(d.data[Stride:])
	if p = read(t, d); p.Err() == nil {
		t.Error("one bad and one blank is taken for new")
	}
	if p, err := p.Write(d, Record{Overlay: 9}); err != nil || read(t, d).Record != p.Record {
		t.Errorf("%+v, %v", p.Record, err)
	}
}

func TestWriteErrors(t *testing.T) {
	d := &disk{tear: -1}
	p := read(t, d)
	if _, err := p.Write(d, Record{Good: A}); err == nil || len(d.data) > 0 {
		t.Errorf("a good slot without an image: %v", err)
	}
	p, err := p.Write(d, Record{})
	if err != nil {
		t.Fatal(err)
	}
	d.silent = true
	if _, err := p.Write(d, Record{Overlay: 1}); err == nil {
		t.Error("a disk that forgets is believed")
	}
	d.silent, d.err = false, io.ErrShortWrite
	if _, err := p.Write(d, Record{Overlay: 1}); !errors.Is(err, io.ErrShortWrite) {
		t.Error(err)
	}
}

func TestSlot(t *testing.T) {
	for s, want := range map[Slot]string{None: "none a", A: "a b", B: "b a", 9: "? a"} {
		if got := s.String() + " " + s.Other().String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
