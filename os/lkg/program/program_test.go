package program_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/ember-os/ember/attest/attesttest"
	"github.com/ember-os/ember/attest/eventlog"
	"github.com/ember-os/ember/attest/tpm"
	"github.com/ember-os/ember/os/lkg/program"
	"github.com/ember-os/ember/os/lkg/state"
	"github.com/ember-os/ember/os/measured"
	"github.com/ember-os/ember/tools/uki"
	"github.com/ember-os/ember/tools/uki/pe/petest"
)

func image(t *testing.T, cmdline string) []byte {
	t.Helper()
	stub := petest.Image(petest.Options{Sections: [][2]string{{".text", "stub"}, {".sbat", "sbat,1\n"}}})
	b, err := uki.Build(stub, uki.Content{
		Kernel: petest.Image(petest.Options{Sections: [][2]string{{".setup", "kernel"}}}),
		Initrd: bytes.Repeat([]byte("initrd"), 1000), Cmdline: cmdline, OSRelease: []byte("ID=ember\n"), Release: "6.12",
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// boot is one of an image.
func boot(t *testing.T, image []byte) measured.Boot {
	t.Helper()
	events, err := uki.Events(image)
	if err != nil {
		t.Fatal(err)
	}
	b := measured.Boot{PCRs: tpm.PCRs{}}
	for _, e := range events {
		kind := uint32(attesttest.IPL)
		if e.PCR == 4 {
			kind = eventlog.BootApplication
		}
		b.Events = append(b.Events, eventlog.Event{PCR: e.PCR, Type: kind, Digest: e.Digest})
	}
	for _, pcr := range measured.PCRs {
		b.PCRs[pcr] = eventlog.Replay(b.Events, pcr)
	}
	return b
}

func TestRead(t *testing.T) {
	want := image(t, "console=ttyS0")
	p, err := program.Read(t.Context(), iotest.OneByteReader(bytes.NewReader(want)), boot(t, want))
	if err != nil {
		t.Fatal(err)
	}
	if p.Image != (state.Image{Size: int64(len(want)), SHA256: sha256.Sum256(want)}) {
		t.Errorf("it is said to be %+v", p.Image)
	}
	for range 2 { // as often as one likes
		r, err := p.Open()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

func TestOther(t *testing.T) {
	want := image(t, "console=ttyS0")
	b := boot(t, want)
	changed := bytes.Clone(want)
	changed[len(changed)-600] ^= 1
	sections := boot(t, want)
	sections.PCRs[11] = [32]byte{}
	for name, c := range map[string]struct {
		image []byte
		boot  measured.Boot
	}{
		"another line":   {image(t, "console=ttyS1"), b},
		"a changed byte": {changed, b},
		"cut":            {want[:len(want)-1], b},
		"appended":       {append(bytes.Clone(want), 0), b},
		"nothing":        {nil, b},
		"a page":         {[]byte("<html>"), b},
		"other sections": {want, sections},
	} {
		if p, err := program.Read(t.Context(), bytes.NewReader(c.image), c.boot); !errors.Is(err, program.ErrOther) || p != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUnmeasured(t *testing.T) {
	b := boot(t, image(t, "console=ttyS0"))
	kernel := measured.Boot{Events: b.Events[:1], PCRs: b.PCRs} // that was started without a stub
	for _, b := range []measured.Boot{{}, kernel} {
		if _, err := program.Read(t.Context(), strings.NewReader("x"), b); !errors.Is(err, program.ErrUnmeasured) {
			t.Error(err)
		}
	}
}

func TestReadFails(t *testing.T) {
	b := boot(t, image(t, "console=ttyS0"))
	broken := errors.New("broken")
	if _, err := program.Read(t.Context(), iotest.ErrReader(broken), b); !errors.Is(err, broken) || errors.Is(err, program.ErrOther) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := program.Read(ctx, strings.NewReader("x"), b); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestFetch(t *testing.T) {
	for _, bad := range []string{"", "uki.efi", "/uki.efi", "ftp://a/b", "http:///b", "http://a:b:c/"} {
		if _, err := program.Fetch(t.Context(), http.DefaultClient, bad); err == nil {
			t.Errorf("%q is fetched", bad)
		}
	}
	want := image(t, "console=ttyS0")
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(want) }))
	defer s.Close()
	r, err := program.Fetch(t.Context(), s.Client(), s.URL+"/uki.efi")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p, err := program.Read(t.Context(), r, boot(t, want))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if p.Image.SHA256 != sha256.Sum256(want) {
		t.Errorf("it is said to be %+v", p.Image)
	}
}
