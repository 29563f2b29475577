package manual

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/attesttest"
	"github.com/ember-os/ember/attest/client"
	"github.com/ember-os/ember/attest/overlay/archive"
	"github.com/ember-os/ember/attest/overlay/extract"
	"github.com/ember-os/ember/attest/overlay/manifest"
	"github.com/ember-os/ember/attest/policy"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/tpm"
	"github.com/ember-os/ember/os/stage"
)

// image stands for a build of Ember: what its machines believe, which is measured like all of an image.
type image struct {
	Version string
	Pins    []string
	Keys    string // that sign overlays
}

// events are what a machine measures that boots the file of an image.
func events(file []byte) []attesttest.Event {
	firmware := slices.DeleteFunc(attesttest.Firmware(), func(e attesttest.Event) bool { return e.PCR == protocol.CapPCR })
	return append(firmware, attesttest.Event{PCR: protocol.CapPCR, Type: attesttest.IPL, Data: file})
}

// measurements are what the build of an image predicts.
func (i image) measurements(file []byte) ([]byte, error) {
	digest := sha256.Sum256(file)
	value := policy.Digest(sha256.Sum256(append(make([]byte, sha256.Size), digest[:]...)))
	build := policy.Build{
		Format: policy.BuildFormat, Version: i.Version, Files: map[string]policy.Digest{"uki.efi": digest},
		Paths: []policy.Path{{
			Name: "uki", PCRs: map[int]policy.Digests{protocol.CapPCR: {value}},
			Log: []policy.Measured{{PCR: protocol.CapPCR, Digest: digest, What: "the image"}},
		}},
	}
	return build.JSON()
}

// machine is one with a TPM of its own, that does what Ember does with it, without a virtual machine around it.
type machine struct {
	t    *testing.T
	tpm  *attesttest.TPM
	node string
}

func newMachine(t *testing.T, name string) *machine {
	t.Helper()
	m := &machine{t: t, tpm: attesttest.New(t, name)}
	s, err := tpm.Start(m.tpm)
	if err != nil {
		t.Fatal(err)
	}
	m.node = s.Node()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return m
}

// console is what a machine says in a boot.
type console struct{ lines []string }

func (c *console) say(format string, args ...any) {
	c.lines = append(c.lines, "ember: attest: "+fmt.Sprintf(format, args...))
}

func (c *console) stage(name string, fields ...stage.Field) {
	t := time.Duration(len(c.lines)+1) * time.Second
	c.lines = append(c.lines, stage.Line{Name: name, T: t, Fields: fields}.String())
}

// boot boots an image, up to the answer of the server at that address, and gives the console's lines.
func (m *machine) boot(path, server string) string {
	m.t.Helper()
	file, err := os.ReadFile(path)
	if err != nil {
		m.t.Fatal(err)
	}
	var i image
	if err := json.Unmarshal(file, &i); err != nil {
		m.t.Fatal(err)
	}
	if err := m.tpm.Reboot(); err != nil {
		m.t.Fatal(err)
	}
	log := m.tpm.Boot(events(file)...)
	s, err := tpm.Start(m.tpm)
	if err != nil {
		m.t.Fatal(err)
	}
	c := new(console)
	c.stage(stage.Start, stage.Field{Key: "version", Value: i.Version})
	c.say("the TPM has the keys of this boot node=%s", m.node)
	if err := m.attest(c, s, i, client.Config{
		URL: "https://" + server, Log: log,
		Claims: protocol.Claims{Image: i.Version, Vendor: "Dell Inc.", Model: "PowerEdge R640", Serial: "8XK2M33", Boot: "network"},
	}); err != nil {
		c.say("warning: %v", err)
	}
	if err := errors.Join(s.Close(), tpm.Cap(m.tpm)); err != nil {
		m.t.Fatal(err)
	}
	return strings.Join(c.lines, "\n")
}

// attest is the machine's part of docs/attestation.md.
func (m *machine) attest(c *console, s *tpm.Session, i image, to client.Config) error {
	for _, text := range i.Pins {
		pin, err := client.ParsePin(text)
		if err != nil {
			return err
		}
		to.Trust.Pins = append(to.Trust.Pins, pin)
	}
	keys, err := manifest.ParseKeys(i.Keys)
	if err != nil {
		return err
	}
	result, err := client.Attest(m.t.Context(), s, to)
	if err != nil {
		return err
	}
	version := "none"
	if o := result.Grant.Overlay; o != nil {
		opened, err := fetch(to, result, keys)
		if err != nil {
			return err
		}
		version = fmt.Sprint(opened.Version)
	}
	c.stage(stage.Attest, stage.Field{Key: "tier", Value: string(result.Grant.Tier)}, stage.Field{Key: "node", Value: m.node},
		stage.Field{Key: "overlay", Value: version})
	reports, err := client.NewReporter(to, result)
	if err != nil {
		return err
	}
	defer reports.Close()
	stages := slices.DeleteFunc(slices.Clone(c.lines), func(line string) bool { _, ok := stage.Parse(line); return !ok })
	return reports.Send(m.t.Context(), protocol.Report{Stages: stages, Health: protocol.Health{State: "healthy"}})
}

// fetch reads an overlay to its end.
func fetch(from client.Config, r *client.Result, keys []manifest.Key) (*manifest.Manifest, error) {
	o := r.Grant.Overlay
	m, err := manifest.Open(o.Manifest, keys...)
	if err == nil {
		err = m.Check(manifest.Machine{Node: r.Grant.Node, Now: r.Grant.Time})
	}
	if err != nil {
		return nil, err
	}
	key, err := extract.Open(o.FileKey)
	if err != nil {
		return nil, err
	}
	h := from.Client(&r.Certificate)
	defer h.CloseIdleConnections()
	resp, err := h.Get(from.URL + "/" + strings.TrimPrefix(o.URL, "/"))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetching the overlay: %s", resp.Status)
	}
	return m, extract.Read(resp.Body, key, m, func(_ archive.Entry, content io.Reader) error {
		_, err := io.Copy(io.Discard, content)
		return err
	})
}
