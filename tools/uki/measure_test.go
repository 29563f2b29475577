package uki

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

// What follows the initrd is what a stub of Debian's systemd 257 put there.
const extra = "070701" + "00000001" + "0000416d" + "00000000" + "00000000" + "00000001" + "00000000" + "00000000" +
	"00000000" + "00000000" + "00000000" + "00000000" + "00000007" + "00000000" + ".extra\x00\x00\x00\x00" +
	"070701" + "00000002" + "00008124" + "00000000" + "00000000" + "00000001" + "00000000" + "00000009" +
	"00000000" + "00000000" + "00000000" + "00000000" + "00000012" + "00000000" + ".extra/os-release\x00" + "ID=ember\n\x00\x00\x00" +
	"070701" + "00000000" + "00000000" + "00000000" + "00000000" + "00000001" + "00000000" + "00000000" +
	"00000000" + "00000000" + "00000000" + "00000000" + "0000000B" + "00000000" + "TRAILER!!!\x00\x00\x00\x00"

func TestBootInitrd(t *testing.T) {
	for initrd, padding := range map[string]string{"initrd": "\x00\x00", "four": ""} {
		c := Content{Initrd: []byte(initrd), OSRelease: []byte("ID=ember\n")}
		if got := string(c.bootInitrd()); got != initrd+padding+extra {
			t.Errorf("got\n%s", hex.Dump([]byte(got)))
		}
	}
}

func TestEvents(t *testing.T) {
	image := mustBuild(t)
	events, err := Events(image)
	if err != nil {
		t.Fatal(err)
	}
	c := content()
	program, err := Program(image)
	if err != nil {
		t.Fatal(err)
	}
	kernel, err := Program(c.Kernel)
	if err != nil {
		t.Fatal(err)
	}
	var got, want strings.Builder
	for _, e := range events {
		fmt.Fprintf(&got, "%d %x %s\n", e.PCR, e.Digest, e.What)
	}
	fmt.Fprintf(&want, "4 %x the image\n", program)
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
	var options strings.Builder
	for _, r := range c.Cmdline + "\x00" {
		options.WriteString(string(r) + "\x00")
	}
	fmt.Fprintf(&want, "4 %x the kernel in it\n9 %x the command line\n9 %x the initrd\n",
		kernel, sha256.Sum256([]byte(options.String())), sha256.Sum256(c.bootInitrd()))
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
