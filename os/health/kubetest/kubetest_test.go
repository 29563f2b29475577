package kubetest

import (
	"bytes"
	"os/exec"
	"testing"

	"github.com/ember-os/ember/os/vm/vmtest"
)

// TestObjects has the answers be what Kubernetes' types give.
func TestObjects(t *testing.T) {
	got, err := exec.Command(vmtest.File(t, "OBJECTS")).Output()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, objects) {
		t.Errorf("testdata/objects.json is not what objects prints:\n%s", got)
	}
}
