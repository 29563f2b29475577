package ovmf_test

import (
	"bytes"
	"crypto/x509"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/ember-os/ember/os/vm/ovmf"
	"github.com/ember-os/ember/os/vm/vmtest"
	"github.com/ember-os/ember/tools/toolroot"
)

// Debian's image with keys in it is read, and its keys are where ours would be.
func TestDebian(t *testing.T) {
	root, err := toolroot.Root{Marker: vmtest.File(t, "TEST_ROOT")}.Dir()
	if err != nil {
		t.Fatal(err)
	}
	image, err := os.ReadFile(filepath.Join(root, "usr/share/OVMF/OVMF_VARS_4M.snakeoil.fd"))
	if err != nil {
		t.Fatal(err)
	}
	variables, err := ovmf.Read(image)
	if err != nil {
		t.Fatal(err)
	}
	ours := map[string]ovmf.Variable{}
	for _, v := range ovmf.Enrol(nil, &x509.Certificate{}) {
		ours[v.Name] = v
	}
	for _, v := range variables {
		if o, ok := ours[v.Name]; ok {
			if v.Vendor != o.Vendor || v.Attributes != o.Attributes || !bytes.HasPrefix(v.Data, o.Data[:16]) {
				t.Errorf("Debian has %s of vendor %x with attributes %#x and %d bytes", v.Name, v.Vendor, v.Attributes, len(v.Data))
			}
			delete(ours, v.Name)
		}
	}
	if len(ours) > 0 {
		t.Errorf("Debian has no %v", ours)
	}
	again, err := ovmf.Write(image, variables)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ovmf.Read(again); err != nil || !reflect.DeepEqual(got, variables) {
		t.Errorf("written again it has %d variables, not %d: %v", len(got), len(variables), err)
	}
}
