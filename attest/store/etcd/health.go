package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ember-os/ember/attest/store"
)

// calm is how long nothing may fail before etcd is said to be back: with one member of three gone, every
// third call fails for a while.
const calm = 5 * time.Second

// health notices that etcd is lost, and that it is back.
type health struct {
	log       *slog.Logger
	endpoints []string
	now       func() time.Time

	mu     sync.Mutex
	lost   bool
	failed time.Time // when it last has, while it is lost
}

// judge makes what a call has come to an error of a store. ctx is the caller's.
func (h *health) judge(ctx context.Context, err error) error {
	switch {
	case err == nil || errors.Is(err, store.ErrConflict):
		h.worked()
		return err
	case ctx.Err() != nil: // the caller has had enough, which is not etcd's fault
		return ctx.Err()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.lost {
		h.log.Error("etcd is lost: until it is back, machines are answered with status 503", "endpoints", h.endpoints, "error", err)
	}
	h.lost, h.failed = true, h.now()
	return fmt.Errorf("%w: etcd: %w", store.ErrUnavailable, err)
}

func (h *health) worked() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lost && h.now().Sub(h.failed) >= calm {
		h.lost = false
		h.log.Info("etcd is back", "endpoints", h.endpoints)
	}
}
