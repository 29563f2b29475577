package attest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/ember-os/ember/attest/client"
	"github.com/ember-os/ember/attest/overlay/extract"
	"github.com/ember-os/ember/attest/overlay/manifest"
	"github.com/ember-os/ember/attest/tpm"
	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/download"
	"github.com/ember-os/ember/os/lkg/booted"
)

// staging is where overlays are unpacked: on the root's own filesystem, so that most files are moved.
const staging = "/var/lib/ember/overlay"

// staged is an overlay on a real machine.
type staged struct {
	*extract.Staged
	root    string
	version uint64
}

func (s staged) Version() uint64 { return s.version }
func (s staged) Commit() error   { return s.Staged.Commit(s.root) }

// Sealed is an overlay as it comes, with what opens it.
type Sealed struct {
	Manifest   []byte // signed
	FileKey    []byte
	Ciphertext func() (io.ReadCloser, error)
}

// stage checks the overlay's manifest, fetches it and unpacks it beside the root.
func (p *program) stage(ctx context.Context, r *client.Result) (overlay, error) {
	c, a, err := p.config()
	if err != nil {
		return nil, err
	}
	grant := r.Grant
	now := grant.Time
	if !r.Doubtful && time.Now().After(now) {
		now = time.Now()
	}
	sealed := Sealed{Manifest: grant.Overlay.Manifest, FileKey: grant.Overlay.FileKey}
	m, err := p.accept(a, sealed.Manifest, manifest.Machine{Node: grant.Node, Now: now})
	if err != nil {
		return nil, err
	}
	server, err := client.ParseURL(c.URL)
	if err != nil {
		return nil, err
	}
	f := fetcher{server: server, known: c.Client(&r.Certificate), others: p.others()}
	defer f.known.CloseIdleConnections()
	defer f.others.CloseIdleConnections()
	sealed.Ciphertext = func() (io.ReadCloser, error) {
		return f.open(ctx, grant.Overlay.URL, m.Ciphertext.Size, m.Ciphertext.SHA256.String())
	}
	return p.unpack(&sealed, m, p.copy)
}

// stageKept is stage with an overlay that was kept. It must not have expired when the server let the machine in.
func (p *program) stageKept(sealed Sealed, node string, at time.Time) (overlay, error) {
	_, a, err := p.config()
	if err != nil {
		return nil, err
	}
	m, err := p.accept(a, sealed.Manifest, manifest.Machine{Node: node, Now: at})
	if err != nil {
		return nil, err
	}
	return p.unpack(&sealed, m, "")
}

// accept reads a manifest that is for this machine.
func (p *program) accept(a anchors, signed []byte, on manifest.Machine) (*manifest.Manifest, error) {
	if len(a.keys) == 0 {
		return nil, unfit{fmt.Errorf("there is an overlay for this machine, but neither the image nor %s says who may sign it", cmdline.OverlayKeyParam)}
	}
	m, err := manifest.Open(signed, a.keys...)
	if err == nil {
		err = p.check(m, on)
	}
	if err != nil {
		return nil, unfit{err}
	}
	return m, nil
}

// check tells why the overlay is not for this machine. What it has booted is looked at only if that matters.
func (p *program) check(m *manifest.Manifest, on manifest.Machine) (err error) {
	if m.Name == p.least.Name {
		on.Least = p.least.Version
	}
	if m.Kernel != (manifest.Digest{}) {
		if on.Kernel, err = p.kernel(); err != nil {
			return fmt.Errorf("overlay %s is for one kernel only: %w", m, err)
		}
	}
	if m.Initrd != (manifest.Digest{}) {
		var kept bool
		if on.Initrds, kept, err = p.initrds(); err != nil {
			return fmt.Errorf("overlay %s is for one initrd only: %w", m, err)
		}
		if !kept && !slices.Contains(on.Initrds, m.Initrd) {
			return fmt.Errorf("overlay %s is for the initrd with the SHA-256 %s, and nothing tells that this machine has booted it: if it has, give it the kernel parameter %s", m, m.Initrd, booted.RetainParam)
		}
	}
	return m.Check(on)
}

// unpack unpacks an overlay beside the root. If a file is to have a copy of it, the overlay is what others get to keep.
func (p *program) unpack(sealed *Sealed, m *manifest.Manifest, copy string) (overlay, error) {
	key, err := extract.Open(sealed.FileKey)
	if err != nil {
		return nil, err
	}
	ciphertext, err := sealed.Ciphertext()
	if err != nil {
		return nil, err
	}
	defer ciphertext.Close()
	// What a program before this one has left behind is of no use.
	if err := errors.Join(os.RemoveAll(p.staging), os.MkdirAll(p.staging, 0o700)); err != nil {
		return nil, fmt.Errorf("making room for the overlay: %w", err)
	}
	var from io.Reader = ciphertext
	if copy != "" {
		to, err := os.OpenFile(copy, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, fmt.Errorf("keeping a copy of the overlay: %w", err)
		}
		defer to.Close()
		from = io.TeeReader(from, to)
	}
	s, err := extract.Stage(p.staging, from, key, m)
	if _, noRoom := errors.AsType[*extract.SpaceError](err); noRoom {
		return nil, unfit{err}
	} else if err != nil {
		return nil, err
	}
	p.log.Info("the overlay is whole", "overlay", m.String(), "entries", m.Entries, "bytes", m.ArchiveSize)
	if copy != "" {
		sealed.Ciphertext = func() (io.ReadCloser, error) { return os.Open(copy) }
		p.sealed = sealed
	}
	return staged{s, p.root, m.Version}, nil
}

func kernel() (manifest.Digest, error) {
	sum, err := booted.Kernel()
	return sum, err
}

func initrds() (all []manifest.Digest, kept bool, err error) {
	log, err := tpm.EventLog()
	if err != nil {
		return nil, false, err
	}
	sums, kept, err := booted.Initrds(log)
	for _, sum := range sums {
		all = append(all, sum)
	}
	return all, kept, err
}

// others is a client for servers that anybody may use.
func (p *program) others() *http.Client {
	return &http.Client{Transport: &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  download.Stall,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
	}}
}
