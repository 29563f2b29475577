package attest

import (
	"bufio"
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ember-os/ember/attest/client"
	"github.com/ember-os/ember/attest/overlay/manifest"
	"github.com/ember-os/ember/os/cmdline"
)

// The image's anchors, below Dir.
const (
	Dir      = "/etc/ember/attest"
	caFile   = "ca.pem"       // the authorities of the server, instead of all that the image trusts
	pinFile  = "pins"         // one in a line
	keysFile = "overlay.keys" // of those who sign overlays, one in a line
)

// anchors is whom the machine believes.
type anchors struct {
	trust client.Trust
	keys  []manifest.Key // who signs overlays
}

// readAnchors takes those of the image, and those of the command line where the image has none of a kind: who
// can change the command line must not be able to add to what the image says. system gives the authorities
// that count if there are neither others nor pins.
func readAnchors(dir string, params cmdline.Attest, system func() (*x509.CertPool, error)) (a anchors, err error) {
	pins, err := lines(filepath.Join(dir, pinFile))
	if err != nil {
		return a, err
	}
	where := filepath.Join(dir, pinFile)
	if pins == nil {
		pins, where = params.Pins, cmdline.AttestPinParam
	}
	for _, text := range pins {
		pin, err := client.ParsePin(text)
		if err != nil {
			return a, fmt.Errorf("reading %s: %w", where, err)
		}
		a.trust.Pins = append(a.trust.Pins, pin)
	}
	if a.keys, err = readKeys(filepath.Join(dir, keysFile), params.OverlayKeys); err != nil {
		return a, err
	}
	text, err := os.ReadFile(filepath.Join(dir, caFile))
	switch {
	case err == nil:
		a.trust.Roots = x509.NewCertPool()
		if !a.trust.Roots.AppendCertsFromPEM(text) {
			return a, fmt.Errorf("%s holds no certificate", filepath.Join(dir, caFile))
		}
	case !errors.Is(err, fs.ErrNotExist):
		return a, fmt.Errorf("reading the attestation server's authorities: %w", err)
	case a.trust.Pins == nil:
		if a.trust.Roots, err = system(); err != nil {
			return a, fmt.Errorf("reading the authorities that the image trusts: %w", err)
		}
	}
	return a, nil
}

// readKeys takes those of the file, else those given.
func readKeys(where string, given []string) (keys []manifest.Key, err error) {
	list, err := lines(where)
	if err != nil {
		return nil, err
	}
	if list == nil {
		list, where = given, cmdline.OverlayKeyParam
	}
	for _, text := range list {
		key, err := manifest.ParseKey(text)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", where, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// lines gives the lines of a file, without empty ones and those that begin with "#"; nil if it is not there.
func lines(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the anchors of attestation: %w", err)
	}
	list := []string{}
	scanner := bufio.NewScanner(bytes.NewReader(text))
	for scanner.Scan() {
		if line := strings.TrimSpace(scanner.Text()); line != "" && !strings.HasPrefix(line, "#") {
			list = append(list, line)
		}
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return list, nil
}
