package vault

import (
	"bytes"
	"encoding/hex"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/ember-os/ember/attest/tpm"
)

func example() blob {
	return blob{
		bits: [3]byte{0x80, 0x0a, 0}, until: 0x0102030405060708, boots: []digest{{1}, {2, 0xff}},
		public: []byte("public"), private: []byte("private part"),
	}
}

func TestGolden(t *testing.T) {
	text, err := os.ReadFile("testdata/blob.hex")
	if err != nil {
		t.Fatal(err)
	}
	want, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := example().encode(); err != nil || !bytes.Equal(got, want) {
		t.Errorf("encoded as %x, %v", got, err)
	}
	if got, err := decode(want); err != nil || !reflect.DeepEqual(got, example()) {
		t.Errorf("decoded as %+v, %v", got, err)
	}
	large := example()
	large.private = make([]byte, maxPart+1)
	if _, err := large.encode(); err == nil {
		t.Error("a large one is encoded")
	}
}

// TestGoldenPolicy has digests that were computed with the formulas of the TPM's specification by another program, of
// which a TPM accepts the like: see TestSealedBefore.
func TestGoldenPolicy(t *testing.T) {
	values := func(b byte) tpm.PCRs {
		return tpm.PCRs{7: digest(bytes.Repeat([]byte{7}, 32)), 9: {}, 11: digest(bytes.Repeat([]byte{b}, 32))}
	}
	for want, p := range map[string]Policy{
		"356605e93201074c6bef8afaca5b677d70cd9ee557908e4c6e611282c5d8401c": {Boots: []tpm.PCRs{values(1)}, Until: 5},
		"176b64dc0f9706504d9b591f0842fb60cb6189a8311cb2c103da0367de437d6f": {Boots: []tpm.PCRs{values(1), values(2)}, Until: 5},
	} {
		b, err := p.blob()
		if err != nil {
			t.Fatal(err)
		}
		if got := b.policy(); hex.EncodeToString(got[:]) != want {
			t.Errorf("the policy is %x, not %s", got, want)
		}
	}
}

// What decode takes is what encode gives.
func FuzzDecode(f *testing.F) {
	text, err := example().encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(text[:headEnd])
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := decode(text)
		if err != nil {
			return
		}
		if again, err := b.encode(); err != nil || !bytes.Equal(again, text) {
			t.Errorf("%x becomes %x, %v", text, again, err)
		}
		b.policy()
		if len(b.pcrs()) == 0 {
			t.Error("a blob of no PCR")
		}
	})
}
