package lock

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ember-os/ember/tools/apk"
)

// Resolver resolves configurations.
type Resolver struct {
	Apko       string // the program
	Repository string // directory of the repository of our own packages
	Key        string // file with the public key of its index
}

// Resolve has apko choose the packages of a configuration among our own and those
// of the repositories it names, whose indexes apko verifies with the keyring it
// names. Each package from there is fetched and must be the one its index means.
func (r *Resolver) Resolve(ctx context.Context, path string) (*Lock, error) {
	config, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	sum, err := Checksum(config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	l, err := r.runApko(ctx, path)
	if err != nil {
		return nil, err
	}
	l.Config = Config{Name: path, Checksum: sum}
	for i := range l.Contents.Packages {
		p := &l.Contents.Packages[i]
		switch {
		case strings.HasPrefix(p.URL, r.Repository+"/"):
			*p = Package{Name: p.Name, Version: p.Version, Architecture: p.Architecture}
		case strings.HasPrefix(p.URL, "https://"), strings.HasPrefix(p.URL, "http://"):
			if p.SHA256, err = fetch(ctx, p); err != nil {
				return nil, fmt.Errorf("fetching %s: %w", p.URL, err)
			}
		default:
			return nil, fmt.Errorf("package %s comes from %s: name repositories by http or https, and give packages of ours a folder under image/packages", p.Name, p.URL)
		}
	}
	slices.SortFunc(l.Contents.Packages, func(a, b Package) int { return cmp.Compare(a.Name, b.Name) })
	return l, nil
}

func (r *Resolver) runApko(ctx context.Context, path string) (*Lock, error) {
	dir, err := os.MkdirTemp("", "lock-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "apko.lock.json")
	apko := exec.CommandContext(ctx, r.Apko, "lock", path,
		"--arch=x86_64",
		"--cache-dir="+filepath.Join(dir, "cache"),
		"--keyring-append="+r.Key,
		"--log-level=warn",
		"--output="+out,
		"--repository-append="+r.Repository)
	var stderr bytes.Buffer
	apko.Stderr = &stderr
	if err := apko.Run(); err != nil {
		return nil, fmt.Errorf("resolving %s: %w\n%s", path, err, bytes.TrimSpace(stderr.Bytes()))
	}
	data, err := os.ReadFile(out)
	if err != nil {
		return nil, err
	}
	l := new(Lock)
	if err := json.Unmarshal(data, l); err != nil {
		return nil, fmt.Errorf("reading apko's lock: %w", err)
	}
	return l, nil
}

// fetch gives the SHA-256 of a package's file. The index vouches for the control
// segment, which vouches for the data: apk.Read checks the latter.
func fetch(ctx context.Context, p *Package) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL, nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the server says %s", response.Status)
	}
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	read, err := apk.Read(data)
	if err != nil {
		return "", err
	}
	if sum := "Q1" + base64.StdEncoding.EncodeToString(read.Control[:]); sum != p.Checksum {
		return "", fmt.Errorf("it has checksum %s where the repository's index says %s", sum, p.Checksum)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}
