// Package program gets the EFI program that this machine was booted with, to be kept in a slot: the unified kernel
// image (//os:uki) itself.
//
// A running machine does not have it any more, so it is fetched again from where the boot server has it, or read from
// the good slot. Wherever it comes from, it is taken only if it is the one that was booted, by what firmware and stub
// have measured: its digest is in PCR 4, what its sections hold in PCR 11. So nobody has to be trusted with it, and
// it may come by http.
package program

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/ember-os/ember/os/booted"
	"github.com/ember-os/ember/os/lkg/state"
)

// The reasons that callers tell apart.
var (
	ErrOther      = errors.New("it is not what this machine was booted with")
	ErrUnmeasured = errors.New("nothing has measured what this machine was booted with: that takes UEFI, a TPM and a unified kernel image (//os:uki)")
)

// MaxSize is that of the largest program, in bytes.
const MaxSize = 256 << 20

// Program is a verified one. It is in memory until Close.
type Program struct {
	Image state.Image // for slot.Candidate.Content
}

// Read takes a program from a reader. An ErrOther or ErrUnmeasured is about it; other errors are the reader's.
func Read(ctx context.Context, from io.Reader, b booted.Boot) (*Program, error) {
	return nil, errors.ErrUnsupported
}

// Fetch gives what is at a URL of http or https. It goes on where a connection breaks, with servers that know ranges.
func Fetch(ctx context.Context, client *http.Client, url string) (io.ReadCloser, error) {
	return nil, errors.ErrUnsupported
}

// Open is for slot.Candidate.System.
func (p *Program) Open() (io.ReadCloser, error) { return nil, errors.ErrUnsupported }

// Close frees the memory. What Open has given is not to be read any more.
func (p *Program) Close() error { return nil }
