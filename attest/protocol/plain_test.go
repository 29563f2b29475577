package protocol

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// written is a request with every field, as a machine writes it, with a log of size bytes.
func written(t testing.TB, size int) []byte {
	t.Helper()
	r := &Request{
		Version: Version, EKCertificates: [][]byte{make([]byte, 700), []byte("above")}, EK: []byte("ek"), AK: []byte("ak"), TLSKey: []byte("tls"),
		TLSKeyCertification: Signed{[]byte("certify"), []byte("s")}, HPKEKey: make([]byte, 1216), Quote: Signed{[]byte("quote"), nil},
		EventLog: bytes.Repeat([]byte("log"), size/3), Claims: []byte("{}"), Nonce: make([]byte, NonceSize),
	}
	for range QuotedPCRs {
		r.PCRs = append(r.PCRs, make([]byte, 32))
	}
	r.Quote.Signature = []byte{} // nil would be null
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What machines write is plain; what is written otherwise is read as well, or refused, by encoding/json.
func TestPlain(t *testing.T) {
	text := written(t, 300)
	r, ok := decodePlain(text)
	if !ok {
		t.Fatalf("%s is not plain", text)
	}
	want := new(Request)
	if err := decode(text, want); err != nil || !reflect.DeepEqual(r, want) {
		t.Errorf("%+v, want %+v, %v", r, want, err)
	}
	for name, other := range map[string]string{
		"a space":      strings.Replace(string(text), ",", ", ", 1),
		"an escape":    strings.Replace(string(text), "A", `\u0041`, 1),
		"order":        `{"ek":"ZWs=",` + strings.Replace(string(text)[1:], `"ek":"ZWs=",`, "", 1),
		"null":         strings.Replace(string(text), `"ZWs="`, "null", 1),
		"a line end":   string(text) + "\n",
		"a field less": strings.Replace(string(text), `"ek":"ZWs=",`, "", 1),
	} {
		if _, ok := decodePlain([]byte(other)); ok {
			t.Errorf("%s is plain", name)
		}
		if _, err := DecodeRequest([]byte(other)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, bad := range map[string]string{
		"a line end in base64": strings.Replace(string(text), `"ZWs="`, "\"ZW\ns=\"", 1),
		"four of them":         strings.Replace(string(text), `"ZWs="`, "\"\n\n\n\nZWs=\"", 1),
		"no base64":            strings.Replace(string(text), `"ZWs="`, `"ZW"`, 1),
		"an unknown field":     strings.Replace(string(text), `"ek"`, `"eek"`, 1),
		"an empty list entry":  strings.Replace(string(text), `"YWJvdmU="]`, `"YWJvdmU=",]`, 1),
		"cut":                  string(text[:len(text)-1]),
	} {
		if r, err := DecodeRequest([]byte(bad)); err == nil {
			t.Errorf("%s: taken, with EK %q", name, r.EK)
		}
	}
}

// A plain request is what encoding/json reads.
func FuzzPlain(f *testing.F) {
	f.Add(written(f, 30))
	f.Add([]byte(strings.Replace(string(written(f, 30)), `"ZWs="`, "\"Z\r\n\r\nWs=\"", 1)))
	vectors, err := os.ReadFile(filepath.Join("testdata", "vectors.json"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(vectors)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, ok := decodePlain(b)
		if !ok {
			return
		}
		want := new(Request)
		if err := decode(b, want); err != nil || !reflect.DeepEqual(r, want) {
			t.Errorf("%q is not what encoding/json reads, %v", b, err)
		}
	})
}

// BenchmarkDecodeRequest reads what machines send, with a log of 32 KB.
func BenchmarkDecodeRequest(b *testing.B) {
	text := written(b, 32<<10)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := DecodeRequest(text); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDecodeSpaced reads the same, written otherwise.
func BenchmarkDecodeSpaced(b *testing.B) {
	text := append(written(b, 32<<10), ' ')
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := DecodeRequest(text); err != nil {
			b.Fatal(err)
		}
	}
}
