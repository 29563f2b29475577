package manual

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/cmd/attestd/attestdtest"
)

// computer is one that has an attestd.
type computer struct {
	root    string
	forward *strings.Replacer // from the page to here
	moved   *strings.Replacer // of a configuration that comes from the first computer
	server  *attestdtest.Server
}

func (s *site) do(c *computer, args []string) error {
	switch strings.Join(args, " ") {
	case "bazelw build //os:uki //os:measurements":
		return s.build()
	case "systemctl start attestd":
		return c.start(s.t)
	case "systemctl stop attestd":
		return c.server.Stop()
	case "systemctl restart attestd":
		if err := c.server.Stop(); err != nil {
			return err
		}
		return c.start(s.t)
	case "systemctl reload attestd":
		return c.reload()
	}
	return fmt.Errorf("nobody stands in for %q", args)
}

func (c *computer) start(t *testing.T) error {
	if c.server != nil {
		c.server.Start()
		return nil
	}
	folder := filepath.Join(c.root, "etc/attestd")
	if c.moved != nil {
		path := filepath.Join(folder, "attestd.yaml")
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(c.moved.Replace(string(b))), 0o644); err != nil {
			return err
		}
	}
	c.server = attestdtest.Start(t, folder)
	return nil
}

// reload has the server read its files again, and waits until it has. It looks at them by itself too, and what it says
// first may be of a look that began before: so it is asked twice.
func (c *computer) reload() (err error) {
	for range 2 {
		before := len(c.server.Log())
		if err := syscall.Kill(c.server.PID(), syscall.SIGHUP); err != nil {
			return err
		}
		err = c.reloaded(before)
	}
	return err
}

// reloaded waits until the server says behind so many bytes of its log that it has.
func (c *computer) reloaded(before int) error {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		said := c.server.Log()[before:]
		if strings.Contains(said, "all stays as it was") {
			return fmt.Errorf("attestd does not reload: %s", said)
		}
		if strings.Contains(said, "msg=reloaded") {
			return nil
		}
	}
	return fmt.Errorf("attestd has not reloaded after %v", patience)
}

// build builds an image of the files in its package, and what it measures.
func (s *site) build() error {
	s.builds++
	i := image{Version: fmt.Sprintf("0.%d.0", s.builds)}
	from, to := filepath.Join(s.dir, "ann/image/packages/site"), filepath.Join(s.dir, "ann/bazel-bin/os")
	pins, err := os.ReadFile(filepath.Join(from, "pins"))
	if err != nil {
		return err
	}
	keys, err := os.ReadFile(filepath.Join(from, "overlay.keys"))
	if err != nil {
		return err
	}
	i.Pins, i.Keys = strings.Fields(string(pins)), string(keys)
	file, err := json.Marshal(i)
	if err != nil {
		return err
	}
	measurements, err := i.measurements(file)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(to, "uki.efi"), file, 0o644),
		os.WriteFile(filepath.Join(to, "measurements.json"), measurements, 0o644),
		os.WriteFile(filepath.Join(s.dir, "builds", i.Version), file, 0o644),
	)
}
