package main

import (
	"crypto/tls"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ember-os/ember/os/vm"
)

func good() flags {
	return flags{root: "/r", kernel: "/k", tpm: "crb", net: "none", kvm: "off", config: vm.Config{MemoryMiB: 1, CPUs: 1}}
}

func TestCheck(t *testing.T) {
	f := good()
	if err := f.check(nil); err != nil {
		t.Fatal(err)
	}
	c := f.config
	if c.TPM != vm.CRB || c.Net != vm.NoNet || c.Root.Marker != "/r" || c.Kernel != "/k" || c.Initrd != "" {
		t.Errorf("got %+v", c)
	}
	for want, spoil := range map[string]func(*flags){
		"--tpm=":              func(f *flags) { f.tpm = "spi" },
		"--net=":              func(f *flags) { f.net = "tap" },
		"--kvm=":              func(f *flags) { f.kvm = "on" },
		"--mem=":              func(f *flags) { f.config.MemoryMiB = 0 },
		"--smp=":              func(f *flags) { f.config.CPUs = -1 },
		"--kernel and --root": func(f *flags) { f.root = "" },
	} {
		f := good()
		spoil(&f)
		if err := f.check(nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
	f = good()
	if err := f.check([]string{"quiet"}); err == nil || !strings.Contains(err.Error(), "--append") {
		t.Errorf("an argument gave %v", err)
	}
}

func TestMakeTPMCA(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	if status, err := run(t.Context(), flags{makeTPMCA: dir}); status != 0 || err != nil {
		t.Fatal(status, err)
	}
	if _, err := tls.LoadX509KeyPair(dir+"/cert.pem", dir+"/key.pem"); err != nil {
		t.Error(err)
	}
}
