package uki

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"github.com/ember-os/ember/tools/uki/pe"
)

func TestEvents(t *testing.T) {
	image := mustBuild(t)
	events, err := Events(image)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := pe.Parse(image)
	if err != nil {
		t.Fatal(err)
	}
	program, err := parsed.Digest()
	if err != nil {
		t.Fatal(err)
	}
	c := content()
	var got, want strings.Builder
	for _, e := range events {
		fmt.Fprintf(&got, "%d %x %s\n", e.PCR, e.Digest, e.What)
	}
	fmt.Fprintf(&want, "4 %x image\n", program)
	var pcr [32]byte
	for _, s := range [][2]string{
		{".linux", string(c.Kernel)}, {".osrel", string(c.OSRelease)}, {".cmdline", c.Cmdline},
		{".initrd", string(c.Initrd)}, {".uname", c.Release}, {".sbat", "sbat,1\n"},
	} {
		name, data := sha256.Sum256([]byte(s[0]+"\x00")), sha256.Sum256([]byte(s[1]))
		fmt.Fprintf(&want, "11 %x name of %s\n11 %x content of %s\n", name, s[0], data, s[0])
		pcr = sha256.Sum256(append(pcr[:], name[:]...))
		pcr = sha256.Sum256(append(pcr[:], data[:]...))
	}
	if got.String() != want.String() {
		t.Errorf("got\n%swant\n%s", &got, &want)
	}
	if got := Replay(events, 11); got != pcr {
		t.Errorf("PCR 11 is %x, not %x", got, pcr)
	}
	if _, err := Events([]byte("hello")); err == nil {
		t.Error("a text was measured")
	}
}
