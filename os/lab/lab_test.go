package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ember-os/ember/os/vm/vmtest"
)

// begin makes a rack whose console and logs are outputs of the test.
func begin(t *testing.T, out *bytes.Buffer) *rack {
	t.Helper()
	f := testFlags(t)
	t.Setenv("TMPDIR", vmtest.Outputs(t, "lab", filepath.Join(t.TempDir(), "out")))
	r, err := newRack(f, newScreen(out, false))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// ended makes sure that nothing is left but what people may want to read.
func ended(t *testing.T, r *rack) {
	t.Helper()
	if _, err := os.Stat(r.dir); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", r.dir, err)
	}
	if _, err := os.Stat(r.consoleFile()); err != nil {
		t.Error(err)
	}
}

// TestLab is the whole demonstration.
func TestLab(t *testing.T) {
	var out bytes.Buffer
	r := begin(t, &out)
	err := r.play(t.Context(), scenario)
	r.close()
	t.Logf("%s", &out)
	if err != nil {
		t.Error(err)
	}
	for _, s := range scenario {
		if !strings.Contains(out.String(), s.name) {
			t.Errorf("the table has no %s", s.name)
		}
	}
	ended(t, r)
}

// TestInterrupted stops the lab while its machine boots.
func TestInterrupted(t *testing.T) {
	var out bytes.Buffer
	r := begin(t, &out)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	err := r.play(ctx, []step{scenario[0], {"stopped", "Somebody stops it", func(r *rack, ctx context.Context) (string, error) {
		if err := r.switchOn(ctx, "switched on"); err != nil {
			return "", err
		}
		stop()
		return r.bootFromNetwork(ctx)
	}}})
	if err == nil || !strings.Contains(err.Error(), "stopped in step 2, stopped") {
		t.Errorf("it ends with %v:\n%s", err, &out)
	}
	r.close()
	ended(t, r)
	if !strings.Contains(out.String(), "  1  servers ") {
		t.Errorf("the table of what has happened is missing:\n%s", &out)
	}
}
