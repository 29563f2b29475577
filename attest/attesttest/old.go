package attesttest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/ember-os/ember/os/vm/vmtest"
	"github.com/ember-os/ember/tools/toolroot"
)

// New12 starts a TPM 1.2, which understands nothing that a TPM 2.0 does. It ends with the test.
func New12(t testing.TB) *TPM {
	t.Helper()
	p := &TPM{t: t, root: toolroot.Root{Marker: vmtest.File(t, "TEST_ROOT")}}
	dir, err := os.MkdirTemp("", "tpm") // a short path, because of the socket's
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	cmd, err := p.root.Command(t.Context(), toolroot.Options{
		Binds: []toolroot.Bind{{Src: dir, Dst: "/tpm", Write: true}}, NoNet: true,
	}, "swtpm", "socket", "--tpmstate", "dir=/tpm", "--ctrl", "type=unixio,path=/tpm/s",
		"--log", "file=/tpm/log", "--pid", "file=/tpm/pid", "--terminate")
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.dir, p.process = dir, old{cmd.Cmd, filepath.Join(dir, "log")}
	t.Cleanup(p.PowerOff)
	for {
		if _, err := os.Stat(filepath.Join(dir, "pid")); err == nil {
			break
		}
		select {
		case <-t.Context().Done():
			t.Fatal("swtpm does not listen")
		case <-time.After(2 * time.Millisecond):
		}
	}
	if err := p.connect(); err != nil {
		t.Fatal(err)
	}
	return p
}

type old struct {
	cmd *exec.Cmd
	log string
}

func (o old) Log() string {
	b, err := os.ReadFile(o.log)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func (o old) Close() {
	o.cmd.Process.Kill()
	o.cmd.Wait()
}
