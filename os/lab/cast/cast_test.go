package cast

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/os/vm/vmtest"
)

var update = flag.Bool("update", false, "write the golden drawing")

// recorded is a recording of what was written in its order.
func recorded(t testing.TB, texts ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, "a <title>", 80, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range texts {
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// TestRoundTrip reads what was written.
func TestRoundTrip(t *testing.T) {
	r, err := Read(bytes.NewReader(recorded(t, Bold+"step"+Plain+" one\n\n", Faint+"1 s"+Plain+Green+" se", "en"+Plain+"\x1b[2J\x1b]0;title", "\x07 <&>\n")))
	if err != nil {
		t.Fatal(err)
	}
	if r.Title != "a <title>" || r.Columns != 80 || len(r.Lines) != 3 {
		t.Fatalf("%+v", r)
	}
	for i, want := range [][]Span{
		{{Text: "step", Bold: true}, {Text: " one"}},
		nil,
		{{Text: "1 s", Faint: true}, {Text: " seen", Green: true}, {Text: "0;title <&>"}},
	} {
		got := r.Lines[i].Spans
		if len(got) != len(want) {
			t.Errorf("line %d is %+v", i, got)
			continue
		}
		for j := range want {
			if got[j] != want[j] {
				t.Errorf("line %d is %+v, not %+v", i, got, want)
			}
		}
	}
}

func TestReadErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                            "it is empty",
		"nonsense":                    "its header",
		`{"version":1,"width":80}`:    "version 1",
		`{"version":2,"width":0}`:     "0 columns",
		header1 + "\n[1,\"o\"]":       "its line 2: an event has three fields",
		header1 + "\n[-1,\"o\",\"\"]": "its line 2: its time makes no sense",
		header1 + "\n\n{}":            "its line 3",
	} {
		if _, err := Read(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, not %q", text, err, want)
		}
	}
}

const header1 = `{"version":2,"width":80}`

// TestGolden draws a recording that asciinema could have made.
func TestGolden(t *testing.T) {
	in, err := os.ReadFile("testdata/short.cast")
	if err != nil {
		t.Fatal(err)
	}
	r, err := Read(bytes.NewReader(in))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := r.WriteSVG(&out); err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "short.svg")
	if *update {
		if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(golden); err != nil || !bytes.Equal(out.Bytes(), want) {
		t.Errorf("the drawing is\n%s\nand should be\n%s\n%v", &out, want, err)
	}
}

// TestDocs has the drawing in docs be that of the recording beside it.
func TestDocs(t *testing.T) {
	in, err := os.Open(vmtest.File(t, "RECORDING"))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	r, err := Read(in)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := r.WriteSVG(&out); err != nil {
		t.Fatal(err)
	}
	if want, err := os.ReadFile(vmtest.File(t, "DRAWING")); err != nil || !bytes.Equal(out.Bytes(), want) {
		t.Errorf("docs/lab.svg is not what is drawn of docs/lab.cast (%v): bazel run //os/lab/cmd/draw -- docs/lab.cast docs/lab.svg", err)
	}
}

// wellFormed reads XML to its end.
func wellFormed(b []byte) error {
	for d := xml.NewDecoder(bytes.NewReader(b)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// FuzzRead: what is read can be drawn, as XML.
func FuzzRead(f *testing.F) {
	f.Add(recorded(f, Bold+"step"+Plain+"\n", "\x1b[1;2mé<&>\"'\x00\ufffe\n"))
	f.Add([]byte(header1 + "\n[1.5,\"o\",\"a\\r\\nb\"]\n[2,\"i\",\"x\"]\n"))
	f.Add([]byte(`{"version":2,"width":80,"title":"\u0000\ud800<"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Read(bytes.NewReader(b))
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := r.WriteSVG(&out); err != nil {
			t.Fatal(err)
		}
		if err := wellFormed(out.Bytes()); err != nil {
			t.Errorf("%v:\n%s", err, &out)
		}
	})
}
