package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/ember-os/ember/attest/admin"
	"github.com/ember-os/ember/attest/store"
	"github.com/ember-os/ember/attest/store/bolt"
)

// storeFile is the store's, in the data folder.
const storeFile = "store"

// backup copies the data folder of a server that runs to a new folder, which can take its place. What is not in the
// data folder is not copied: the configuration, and an authority that it names elsewhere.
func backup(ctx context.Context, c *config, to string) error {
	if len(c.Store.Etcd.Endpoints) > 0 {
		return errors.New("the store is in etcd: etcdctl snapshot save copies it")
	}
	if err := os.Mkdir(to, 0o700); errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s is there already, and copies are not replaced: choose another folder", to)
	} else if err != nil {
		return fmt.Errorf("making the folder of the copy: %w", err)
	}
	if err := fill(ctx, c, to); err != nil {
		return errors.Join(err, os.RemoveAll(to))
	}
	return nil
}

func fill(ctx context.Context, c *config, to string) error {
	path := filepath.Join(to, storeFile)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(admin.Unix(c.Admin).Backup(ctx, f), f.Sync(), f.Close()); err != nil {
		return err
	}
	for _, file := range []struct {
		path string
		mode os.FileMode
	}{{c.Authority.Certificate, 0o644}, {c.Authority.Key, 0o600}} {
		if filepath.Dir(file.path) != filepath.Clean(c.Data) {
			continue
		}
		b, err := os.ReadFile(file.path)
		if err != nil {
			return fmt.Errorf("copying the authority for machines: %w", err)
		}
		if err := writeNew(filepath.Join(to, filepath.Base(file.path)), b, file.mode); err != nil {
			return err
		}
	}
	s, err := bolt.Open(path) // as a server will
	if err != nil {
		return err
	}
	return s.Close()
}

// grain is what lives are rounded up to in a copy, so that in etcd many entries share a lease.
const grain = time.Hour

// restore puts what the store of a copy has into the store of the configuration, which must be empty: that of another
// server, or of several. It gives the number of entries.
func restore(ctx context.Context, c *config, from string) (n int, err error) {
	path := filepath.Join(from, storeFile)
	if _, err := os.Stat(path); err != nil {
		return 0, fmt.Errorf("looking for the copy of a store: %w", err)
	}
	copied, err := bolt.Open(path)
	if err != nil {
		return 0, err
	}
	defer copied.Close()
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return 0, fmt.Errorf("making the data folder: %w", err)
	}
	to, err := openStore(ctx, c, slog.New(slog.DiscardHandler))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	if there, err := to.List(ctx, "", "", 1); err != nil {
		return 0, err
	} else if len(there) > 0 {
		return 0, errors.New("the store of the configuration is not empty: import before the first server of it starts")
	}
	err = copied.Each(func(e store.Entry, life time.Duration) error {
		if life != store.Forever {
			life = life.Truncate(grain) + grain
		}
		n++
		_, err := to.Put(ctx, e.Key, e.Value, 0, life)
		return err
	})
	return n, err
}
