package fetch

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/containerd/v2/core/remotes"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	lookEvery   = time.Second      // so often is the progress looked at, and at most told
	tellEvery   = 10 * time.Second // so often is it told even if it is small
	tellPercent = 10               // so much is worth telling
)

// watcher tells the progress of a pull and ends one that makes none.
type watcher struct {
	ref          string
	out          io.Writer
	bytes, total atomic.Int64
	done         chan struct{}
	ended        sync.WaitGroup
}

// watch calls cancel with errStalled when nothing has come for the time of patience.
func watch(ref string, out io.Writer, patience time.Duration, cancel context.CancelCauseFunc) *watcher {
	w := &watcher{ref: ref, out: out, done: make(chan struct{})}
	w.ended.Go(func() { w.run(patience, cancel) })
	return w
}

func (w *watcher) stop() {
	close(w.done)
	w.ended.Wait()
}

func (w *watcher) run(patience time.Duration, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(min(lookEvery, patience))
	defer tick.Stop()
	start := time.Now()
	var seen, told int64
	moved, toldAt := start, start
	for {
		select {
		case <-w.done:
			return
		case now := <-tick.C:
			bytes, total := w.bytes.Load(), w.total.Load()
			if bytes != seen {
				seen, moved = bytes, now
			}
			if now.Sub(moved) >= patience {
				cancel(errStalled)
				return
			}
			if bytes != told && total > 0 && (now.Sub(toldAt) >= tellEvery || (bytes-told)*100 >= total*tellPercent) {
				fmt.Fprintf(w.out, "<6>pulling %s: %.1f of %.1f MB\n", w.ref, float64(bytes)/1e6, float64(total)/1e6)
				told, toldAt = bytes, now
			}
		}
	}
}

// watched counts what f fetches.
func (w *watcher) watched(f remotes.Fetcher) remotes.Fetcher {
	return remotes.FetcherFunc(func(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
		r, err := f.Fetch(ctx, desc)
		if err != nil {
			return nil, err
		}
		c := counted{r, &w.bytes}
		if s, ok := r.(io.Seeker); ok { // a pull is taken up where it was interrupted
			return struct {
				counted
				io.Seeker
			}{c, s}, nil
		}
		return c, nil
	})
}

type counted struct {
	io.ReadCloser
	bytes *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.bytes.Add(int64(n))
	return n, err
}
