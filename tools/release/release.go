// Package release makes the folder that a build is published as. A web server, Tinkerbell's boot server and a
// registry serve it as it is: its names are those of CaptainOS and HookOS, whose place it takes.
//
// docs/release.md lists the files. They depend on nothing but what they are made from.
package release

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Content is what is published: the release of the kernel, as uname prints it, and paths of files.
type Content struct {
	KernelRelease      string
	Kernel, Initrd     string
	UKI, ISO           string
	Script             string // of iPXE
	Measurements, SBOM string
	KernelConfig       string
}

const (
	machine      = "x86_64" // as uname prints it
	architecture = "amd64"  // of the same, as Go and registries call it

	kernelName = "vmlinuz-" + machine
	initrdName = "initramfs-" + machine
	hookName   = "hook_" + machine + ".tar.gz"
	hookSums   = "checksum.txt"
	imageName  = "oci"
)

// file is a published file.
type file struct{ name, source string }

func (c Content) files() []file {
	suffix := "-" + c.KernelRelease + "-" + machine
	return []file{
		{"boot.ipxe", c.Script},
		{"config" + suffix, c.KernelConfig},
		{"ember" + suffix + ".iso", c.ISO},
		{"initramfs" + suffix, c.Initrd},
		{initrdName, c.Initrd},
		{"measurements.json", c.Measurements},
		{"sbom.spdx.json", c.SBOM},
		{"uki.efi", c.UKI},
		{"vmlinuz" + suffix, c.Kernel},
		{kernelName, c.Kernel},
	}
}

// Write fills the empty folder dir.
func Write(dir string, c Content) error {
	if c.KernelRelease == "" || strings.ContainsAny(c.KernelRelease, "/ \n") {
		return fmt.Errorf("publishing: %q is no release of a kernel", c.KernelRelease)
	}
	var sums bytes.Buffer
	var names []string
	for _, f := range c.files() {
		sum, err := publish(filepath.Join(dir, f.name), f.source)
		if err != nil {
			return fmt.Errorf("publishing %s: %w", f.name, err)
		}
		fmt.Fprintf(&sums, "%x  %s\n", sum, f.name)
		names = append(names, f.name)
	}
	sumsName := "sha256sums-" + c.KernelRelease + "-" + machine + ".txt"
	if err := os.WriteFile(filepath.Join(dir, sumsName), sums.Bytes(), 0o644); err != nil {
		return fmt.Errorf("publishing the sums: %w", err)
	}
	if err := writeHook(dir); err != nil {
		return fmt.Errorf("publishing %s: %w", hookName, err)
	}
	if err := writeImage(dir, append(names, sumsName)); err != nil {
		return fmt.Errorf("publishing the image: %w", err)
	}
	return nil
}

// publish copies a file, and gives its SHA-256.
func publish(path, source string) ([]byte, error) {
	in, err := os.Open(source)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(out, sum), in); err != nil {
		return nil, err
	}
	return sum.Sum(nil), out.Close()
}
