package protocol_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/ember-os/ember/attest/protocol"
)

func TestDecodeRequest(t *testing.T) {
	good := func() *protocol.Request {
		r := &protocol.Request{Version: protocol.Version, EK: []byte("ek"), Claims: []byte(`{"image":"1"}`)}
		for range protocol.QuotedPCRs {
			r.PCRs = append(r.PCRs, make([]byte, 32))
		}
		return r
	}
	encode := func(change func(*protocol.Request)) string {
		r := good()
		change(r)
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	text := encode(func(*protocol.Request) {})
	r, err := protocol.DecodeRequest([]byte(text))
	if err != nil || !reflect.DeepEqual(r, good()) {
		t.Fatalf("%+v, %v", r, err)
	}
	if _, err := protocol.DecodeRequest([]byte(encode(func(r *protocol.Request) { r.Nonce = make([]byte, protocol.NonceSize) }))); err != nil {
		t.Error(err)
	}
	for name, bad := range map[string]string{
		"empty":         "",
		"null":          "null",
		"not JSON":      "{",
		"unknown field": `{"extra":1,` + text[1:],
		"two":           text + text,
		"trailing":      text + "}",
		"version":       encode(func(r *protocol.Request) { r.Version = 2 }),
		"PCRs":          encode(func(r *protocol.Request) { r.PCRs = r.PCRs[1:] }),
		"log":           encode(func(r *protocol.Request) { r.EventLog = make([]byte, protocol.MaxLog+1) }),
		"nonce":         encode(func(r *protocol.Request) { r.Nonce = make([]byte, 31) }),
		"size":          text + strings.Repeat(" ", protocol.MaxRequest),
	} {
		if r, err := protocol.DecodeRequest([]byte(bad)); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestDecodeResponse(t *testing.T) {
	if r, err := protocol.DecodeResponse([]byte(`{"version":1,"sealed":"AAEC","later":true}`)); err != nil || !bytes.Equal(r.Sealed, []byte{0, 1, 2}) {
		t.Errorf("%+v, %v", r, err)
	}
	for _, bad := range []string{"", "{}", `{"version":2}`, `{"version":1} x`} {
		if r, err := protocol.DecodeResponse([]byte(bad)); err == nil {
			t.Errorf("%q: %+v", bad, r)
		}
	}
}

// TestLargestRequest has all in it as large as it may be.
func TestLargestRequest(t *testing.T) {
	area, value := make([]byte, 2048), make([]byte, 32)
	signed := protocol.Signed{Attest: area, Signature: area}
	r := protocol.Request{Version: protocol.Version, EK: area, AK: area, TLSKey: area, TLSKeyCertification: signed, Quote: signed,
		HPKEKey: make([]byte, 1216), EventLog: make([]byte, protocol.MaxLog), Claims: make([]byte, 16<<10), Nonce: value}
	for range 9 {
		r.EKCertificates = append(r.EKCertificates, make([]byte, 8<<10))
	}
	for range protocol.QuotedPCRs {
		r.PCRs = append(r.PCRs, value)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if len(text) > 1_600_000 {
		t.Errorf("it has %d bytes", len(text))
	}
	if _, err := protocol.DecodeRequest(text); err != nil {
		t.Error(err)
	}
}

func FuzzDecodeRequest(f *testing.F) {
	for _, c := range read(f).Binding {
		b, err := json.Marshal(c.Request)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := protocol.DecodeRequest(b)
		if err != nil {
			return
		}
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		again, err := protocol.DecodeRequest(text)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(r.Binding(nil), again.Binding(nil)) {
			t.Error("another binding")
		}
	})
}

func FuzzDecodeResponse(f *testing.F) {
	v := read(f).Grant
	b, err := json.Marshal(v.Response)
	if err != nil {
		f.Fatal(err)
	}
	key := hpkeKey(f, v.HPKEKey)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := protocol.DecodeResponse(b)
		if err != nil {
			return
		}
		// A TPM that opens anything: only the whole answer is the answer.
		g, err := r.Open(v.Binding, key, func(_, _ []byte) ([]byte, error) { return v.Secret, nil })
		if err == nil && !reflect.DeepEqual(g, v.Grant) {
			t.Errorf("%+v", g)
		}
	})
}
