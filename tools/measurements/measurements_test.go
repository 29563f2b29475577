package measurements

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ember-os/ember/attest/policy"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/verify"
	"github.com/ember-os/ember/tools/uki"
	"github.com/ember-os/ember/tools/uki/pe/petest"
)

func program(text string) []byte {
	return petest.Image(petest.Options{Sections: [][2]string{{".text", text}, {".sbat", "sbat,1\n"}}})
}

func content(t *testing.T) Content {
	t.Helper()
	c := Content{
		Version: "0.1.0", Cmdline: "console=ttyS0", Kernel: program("kernel"), Initrd: []byte("initrd"),
		KernelName: "vmlinuz-x86_64", InitrdName: "initramfs-x86_64", UKIName: "uki.efi",
	}
	var err error
	c.UKI, err = uki.Build(program("stub"), uki.Content{
		Kernel: c.Kernel, Initrd: c.Initrd, Cmdline: c.Cmdline, OSRelease: []byte("ID=ember\n"), Release: "6.12",
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// event is one of text, as firmware measures strings.
func event(pcr int, text string) verify.Event {
	sum := sha256.Sum256([]byte(text))
	return verify.Event{PCR: pcr, Digest: sum[:]}
}

// recorded is the evidence of a machine that has recorded these events after those of its firmware.
func recorded(events ...verify.Event) *verify.Evidence {
	e := &verify.Evidence{Tier: protocol.Attested, PCRs: map[int][]byte{}, Explained: map[int]bool{}}
	e.Events = append([]verify.Event{
		event(4, "Calling EFI Application from Boot Option"), event(4, "\x00\x00\x00\x00"), event(5, "\x00\x00\x00\x00"),
	}, events...)
	for pcr := range 16 {
		e.PCRs[pcr], e.Explained[pcr] = make([]byte, sha256.Size), true
	}
	for _, event := range e.Events {
		sum := sha256.Sum256(slices.Concat(e.PCRs[event.PCR], event.Digest))
		e.PCRs[event.PCR] = sum[:]
	}
	return e
}

// decides tells whether a policy for one way takes a machine.
func decides(t *testing.T, build *policy.Build, way string, e *verify.Evidence) policy.Decision {
	t.Helper()
	policies, err := policy.Expand([]policy.Policy{{
		Name: "p", Tiers: []protocol.Tier{protocol.Attested},
		Measurements: policy.Measurements{Files: []string{"build.json"}, Paths: []string{way}},
	}}, func(string) ([]byte, error) { return build.JSON() })
	if err != nil {
		t.Fatal(err)
	}
	set, err := policy.New(policies)
	if err != nil {
		t.Fatal(err)
	}
	return set.Decide(e)
}

// A machine that has recorded what was predicted is taken, and one that has recorded something else is not.
func TestPredict(t *testing.T) {
	loader := program("iPXE")
	measured, err := uki.Program(loader)
	if err != nil {
		t.Fatal(err)
	}
	ipxe := verify.Event{PCR: 4, Digest: measured[:]}
	for _, loaders := range [][][]byte{nil, {loader}} {
		c := content(t)
		c.Loaders = loaders
		build, err := Predict(c)
		if err != nil {
			t.Fatal(err)
		}
		for _, way := range build.Paths {
			t.Run(fmt.Sprintf("%s with %d loaders", way.Name, len(loaders)), func(t *testing.T) {
				var events []verify.Event
				for _, m := range way.Log {
					events = append(events, verify.Event{PCR: m.PCR, Digest: m.Digest[:]})
				}
				if d := decides(t, build, way.Name, recorded(events...)); !d.Allow {
					t.Errorf("what was predicted is refused: %v", d.Reasons)
				}
				strict := len(loaders) > 0 || way.Name == UKI || way.Name == Direct
				if d := decides(t, build, way.Name, recorded(append([]verify.Event{event(4, "rogue")}, events...)...)); d.Allow == strict {
					t.Errorf("with another program before: %+v", d)
				}
				if d := decides(t, build, way.Name, recorded(append([]verify.Event{ipxe, event(4, "Returning from EFI Application from Boot Option")}, events...)...)); d.Allow == (strict && len(loaders) == 0) {
					t.Errorf("with iPXE before: %+v", d)
				}
				for i := range events {
					changed := slices.Clone(events)
					changed[i].Digest = bytes.Repeat([]byte{1}, sha256.Size)
					if d := decides(t, build, way.Name, recorded(changed...)); d.Allow {
						t.Errorf("another event of %q is taken", way.Log[i].What)
					}
				}
				more := recorded(append(events, event(9, "another initrd"))...)
				if d := decides(t, build, way.Name, more); d.Allow != (way.Name == AnyCmdline) {
					t.Errorf("with another initrd: %+v", d)
				}
			})
		}
	}
}

// What is published can be compared with the file.
func TestFiles(t *testing.T) {
	c := content(t)
	build, err := Predict(c)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"vmlinuz-x86_64": c.Kernel, "initramfs-x86_64": c.Initrd, "uki.efi": c.UKI} {
		if build.Files[name] != sha256.Sum256(content) {
			t.Errorf("%s has %v", name, build.Files[name])
		}
	}
	one, err := build.JSON()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Predict(content(t))
	if err != nil {
		t.Fatal(err)
	}
	if two, err := again.JSON(); err != nil || !bytes.Equal(one, two) {
		t.Errorf("predicted again it is different: %v", err)
	}
}

func TestPredictRefuses(t *testing.T) {
	for want, change := range map[string]func(*Content){
		"unified kernel image": func(c *Content) { c.UKI = nil },
		"the kernel":           func(c *Content) { c.Kernel = []byte("\x7fELF") },
		"loader 2":             func(c *Content) { c.Loaders = [][]byte{program("a"), nil} },
	} {
		c := content(t)
		change(&c)
		if _, err := Predict(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, not %q", err, want)
		}
	}
}
