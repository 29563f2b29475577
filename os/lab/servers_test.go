package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/os/lkg/state"
	"github.com/ember-os/ember/os/vm/lab"
	"github.com/ember-os/ember/os/vm/vmtest"
	"github.com/ember-os/ember/tools/toolroot"
)

func TestMain(m *testing.M) {
	toolroot.Init()
	lab.Init()
	m.Run()
}

func testFlags(t *testing.T) flags {
	t.Helper()
	return flags{kvm: "off", patience: 5 * time.Minute, files: files{
		root: vmtest.File(t, "TEST_ROOT"), bootRoot: vmtest.File(t, "BOOT_ROOT"), kernel: vmtest.File(t, "KERNEL"), initrd: vmtest.File(t, "INITRD"),
		attestd: vmtest.File(t, "ATTESTD"), emberctl: vmtest.File(t, "EMBERCTL"),
		tinkserver: vmtest.File(t, "TINKSERVER"), tinkAgent: vmtest.File(t, "TINK_AGENT"), busybox: vmtest.File(t, "BUSYBOX"),
	}}
}

// TestServers has the servers come, go and come back, without a machine.
func TestServers(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var out bytes.Buffer
	r, err := newRack(testFlags(t), newScreen(&out, false))
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	if _, err := r.startServers(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), r.page()) {
		t.Errorf("the status page is not shown:\n%s", &out)
	}
	if _, err := r.refused(); err == nil {
		t.Error("they serve, and refuse connections")
	}
	if r.boots.Program() == nil {
		t.Error("the boot server has nothing")
	}
	if c, err := r.onDisk(t.Context()); err == nil || c.good != which(state.None) {
		t.Errorf("an empty disk holds %v, %v", c, err)
	}
	r.stopServers()
	if all, err := r.refused(); err != nil || len(all) != 5 {
		t.Errorf("they were stopped: %v, %v", all, err)
	}
	if err := r.publish(2, laterLimits); err != nil {
		t.Fatal(err)
	}
	if err := r.comeBack(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := r.refused(); err == nil {
		t.Error("they are back, and refuse connections")
	}
	if c, err := r.network.Dial("tcp", attestAddress); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
}
