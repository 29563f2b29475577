package attest

import (
	"context"
	"errors"
	"fmt"
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

// stage checks the overlay's manifest, fetches it and unpacks it beside the root.
func (p *program) stage(ctx context.Context, r *client.Result) (overlay, error) {
	c, a, err := p.config()
	if err != nil {
		return nil, err
	}
	if len(a.keys) == 0 {
		return nil, unfit{fmt.Errorf("there is an overlay for this machine, but neither the image nor %s says who may sign it", cmdline.OverlayKeyParam)}
	}
	grant := r.Grant
	m, err := manifest.Open(grant.Overlay.Manifest, a.keys...)
	if err != nil {
		return nil, unfit{err}
	}
	if err := p.check(m, r); err != nil {
		return nil, unfit{err}
	}
	key, err := extract.Open(grant.Overlay.FileKey)
	if err != nil {
		return nil, err
	}
	server, err := client.ParseURL(c.URL)
	if err != nil {
		return nil, err
	}
	f := fetcher{server: server, known: c.Client(&r.Certificate), others: p.others(), pause: firstPause, stall: stall}
	defer f.known.CloseIdleConnections()
	defer f.others.CloseIdleConnections()
	ciphertext, err := f.open(ctx, grant.Overlay.URL, m.Ciphertext.Size, m.Ciphertext.SHA256.String())
	if err != nil {
		return nil, err
	}
	defer ciphertext.Close()
	// What a program before this one has left behind is of no use.
	if err := errors.Join(os.RemoveAll(p.staging), os.MkdirAll(p.staging, 0o700)); err != nil {
		return nil, fmt.Errorf("making room for the overlay: %w", err)
	}
	s, err := extract.Stage(p.staging, ciphertext, key, m)
	if _, noRoom := errors.AsType[*extract.SpaceError](err); noRoom {
		return nil, unfit{err}
	} else if err != nil {
		return nil, err
	}
	p.log.Info("the overlay is whole", "overlay", m.String(), "entries", m.Entries, "bytes", m.ArchiveSize)
	return staged{s, p.root, m.Version}, nil
}

// check tells why the overlay is not for this machine. What it has booted is looked at only if that matters.
func (p *program) check(m *manifest.Manifest, r *client.Result) (err error) {
	on := manifest.Machine{Node: r.Grant.Node, Now: r.Grant.Time}
	if now := time.Now(); !r.Doubtful && now.After(on.Now) {
		on.Now = now
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
		ResponseHeaderTimeout:  stall,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
	}}
}
