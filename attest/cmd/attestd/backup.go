package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/ember-os/ember/attest/admin"
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
