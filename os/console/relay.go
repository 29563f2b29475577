package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/ember-os/ember/os/logline"
	"golang.org/x/sys/unix"
)

// RelayPath is the FIFO for what other processes have to say on the consoles.
const RelayPath = "/run/ember/console"

const (
	relayLine  = 1 << 10 // bytes of a line; the rest of it is left out
	relayRate  = 200     // lines that are printed within one relaySpan
	relaySpan  = time.Second
	relayStart = "ember: "
)

// Relay makes the FIFO at path and prints each line that is written to it, behind
// "ember: ", until ctx ends. Control characters and what is no UTF-8 are printed
// as "?", lines end at 1 KiB. Of more than 200 lines in a second the rest is
// counted and left out.
func (c *Console) Relay(ctx context.Context, path string) error {
	file, err := openFIFO(path)
	if err != nil {
		return fmt.Errorf("opening the way to the consoles: %w", err)
	}
	defer file.Close()
	defer context.AfterFunc(ctx, func() { file.Close() })()
	r := relay{to: c}
	buf := make([]byte, 4<<10)
	for {
		file.SetReadDeadline(r.end) // FIFOs know deadlines
		n, err := file.Read(buf)
		now := time.Now()
		r.turn(now)
		r.take(buf[:n], now)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("reading what is meant for the consoles: %w", err)
		}
	}
}

// openFIFO makes a FIFO and opens both of its ends, so that it has no end of file.
func openFIFO(path string) (*os.File, error) {
	if err := unix.Mkfifo(path, 0o600); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, &os.PathError{Op: "mkfifo", Path: path, Err: err}
	}
	return os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0)
}

// relay cuts bytes into lines and counts them.
type relay struct {
	to      *Console
	line    []byte    // what there is of a line without its end, at most relayLine
	end     time.Time // of the span that is running; zero if none is
	printed int       // lines in this span
	left    int       // lines left out in this span
}

// turn ends a span that is over, and tells what was left out in it.
func (r *relay) turn(now time.Time) {
	if r.end.IsZero() || now.Before(r.end) {
		return
	}
	if r.left > 0 {
		fmt.Fprintf(r.to, relayStart+"%d lines left out\n", r.left)
	}
	r.end, r.printed, r.left = time.Time{}, 0, 0
}

func (r *relay) take(text []byte, now time.Time) {
	for part := range bytes.Lines(text) {
		body, whole := bytes.CutSuffix(part, []byte("\n"))
		r.line = append(r.line, body[:min(len(body), relayLine-len(r.line))]...)
		if whole {
			r.print(now)
			r.line = r.line[:0]
		}
	}
}

func (r *relay) print(now time.Time) {
	if r.end.IsZero() {
		r.end = now.Add(relaySpan)
	}
	if r.printed == relayRate {
		r.left++
		return
	}
	r.printed++
	fmt.Fprintf(r.to, relayStart+"%s\n", logline.Visible(string(r.line)))
}
