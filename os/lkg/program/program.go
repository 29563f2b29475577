// Package program gets the EFI program that this machine was booted with, to be kept in a slot: the unified kernel
// image (//os:uki) itself.
//
// A running machine does not have it any more, so it is fetched again from where the boot server has it, or read from
// the good slot. Wherever it comes from, it is taken only if it is the one that was booted, by what firmware and stub
// have measured: its digest is in PCR 4, and what its sections hold in PCR 11. So nobody has to be trusted with it, and
// it may come by http. A signature for Secure Boot is not part of that digest: one that was exchanged keeps the slot
// from being started, and no more.
package program

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"golang.org/x/sys/unix"

	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/os/download"
	"github.com/ember-os/ember/os/lkg/state"
	"github.com/ember-os/ember/os/measured"
	"github.com/ember-os/ember/os/memfile"
	"github.com/ember-os/ember/tools/uki"
)

// The reasons that callers tell apart.
var (
	ErrOther      = errors.New("it is not what this machine was booted with")
	ErrUnmeasured = measured.ErrUnmeasured
)

// MaxSize is that of the largest program, in bytes.
const MaxSize = 128 << 20

// Program is a verified one. It is in memory until Close.
type Program struct {
	Image state.Image // for slot.Candidate.Content

	file *os.File
}

// Fetch gives what is at a URL of http or https, until ctx ends; the network is first used by a Read.
func Fetch(ctx context.Context, client *http.Client, where string) (io.ReadCloser, error) {
	u, err := url.Parse(where)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("fetching what this machine was booted with: its address is not a URL of http or https")
	}
	return download.Open(ctx, download.Source{Client: client, URL: u, Name: "what this machine was booted with"}), nil
}

// Read takes a program from a reader. An ErrOther or ErrUnmeasured is about it; other errors are the reader's.
func Read(ctx context.Context, from io.Reader, b measured.Boot) (*Program, error) {
	p, err := read(ctx, from, b)
	if err != nil {
		return nil, fmt.Errorf("getting what this machine was booted with: %w", err)
	}
	return p, nil
}

func read(ctx context.Context, from io.Reader, b measured.Boot) (_ *Program, err error) {
	digest, is := b.Program()
	if !is {
		return nil, ErrUnmeasured
	}
	p := new(Program)
	if p.file, err = memfile.New("program", reader{ctx, from}, MaxSize); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	if p.Image, err = verify(p.file, digest, b.PCRs[protocol.CapPCR]); err != nil {
		return nil, err
	}
	return p, nil
}

// verify compares a program with what was measured.
func verify(file *os.File, digest, sections [sha256.Size]byte) (state.Image, error) {
	image, unmap, err := memfile.Map(file)
	if errors.Is(err, unix.EINVAL) {
		return state.Image{}, fmt.Errorf("%w: it is empty", ErrOther)
	}
	if err != nil {
		return state.Image{}, err
	}
	defer unmap()
	events, err := uki.Events(image)
	switch {
	case err != nil:
		return state.Image{}, fmt.Errorf("%w: %w", ErrOther, err)
	case events[0].Digest != digest: // of the program; the others are of its sections
		return state.Image{}, fmt.Errorf("%w: the firmware has measured a program of digest %x, and this one has %x", ErrOther, digest, events[0].Digest)
	case uki.Replay(events, protocol.CapPCR) != sections:
		return state.Image{}, fmt.Errorf("%w: the stub has measured other sections", ErrOther)
	}
	return state.Image{Size: int64(len(image)), SHA256: sha256.Sum256(image)}, nil
}

// reader ends when a context does.
type reader struct {
	ctx context.Context
	io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// Open is for slot.Candidate.System.
func (p *Program) Open() (io.ReadCloser, error) {
	return io.NopCloser(io.NewSectionReader(p.file, 0, p.Image.Size)), nil
}

// Close frees the memory. What Open has given is not to be read any more.
func (p *Program) Close() error { return p.file.Close() }
