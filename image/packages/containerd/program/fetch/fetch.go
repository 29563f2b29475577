// Package fetch is ember-fetch: it pulls an image through containerd and takes one
// program out of it.
//
// The image's content goes into containerd's store, with containerd's own resolver,
// so that registries are configured in one place (hosts.toml), and is given back
// when the program is out: nothing is unpacked into a snapshot, no image is left.
// After a failure what was received stays for the next call, which goes on from
// there.
//
// It prints one line of JSON, Result, on standard output. On standard error are lines
// as of sd-daemon(3): progress, at most one a second, and on failure a last one with
// severity 3 that says what is wrong and what to do. The exit status is 0, 1 for a
// failure, or 2 for a call that makes no sense.
package fetch

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/config"
	"github.com/containerd/log"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

const usage = `usage: ember-fetch [OPTION...] --out FILE IMAGE [PATH...]

Pulls an image through containerd and writes a program of it to FILE: the first PATH
that is in the image, else the image's entrypoint.

  --namespace NAME   of containerd's (tinkerbell)
  --socket PATH      containerd's (/run/containerd/containerd.sock)
  --hosts DIRECTORY  of hosts.toml files (/etc/containerd/certs.d)
  --have DIGEST      do nothing if the image still has this digest
`

// Result is what is printed on success.
type Result struct {
	Digest digest.Digest `json:"digest"`         // of the image, as its name resolves
	Path   string        `json:"path,omitempty"` // of the program in the image; "" if --have is right
	Size   int64         `json:"size,omitempty"` // of the program, in bytes
}

type options struct {
	namespace, socket, hosts, out string
	have                          digest.Digest
	image                         string   // as it was given
	ref                           string   // in full, with a tag or a digest
	paths                         []string // as they were given
}

// gcPercent is how much garbage may lie about, of what is in use. Nearly all of both is buffers, and a machine may have
// little memory while its agent comes.
const gcPercent = 30

// Main is the program.
func Main(args []string) int {
	debug.SetGCPercent(gcPercent)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, args, os.Stdout, os.Stderr)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, usage)
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "<3>ember-fetch: %v\n%s", err, usage)
		return 2
	}
	if err := log.SetLevel("error"); err != nil { // the resolver tells of every host it tries
		panic(err)
	}
	if o.ref, err = normalize(o.image); err != nil {
		fmt.Fprintf(stderr, "<3>%v\n", err)
		return 1
	}
	result, err := o.fetch(ctx, stderr)
	if err != nil {
		fmt.Fprintf(stderr, "<3>%s\n", sentence(o.ref, err))
		return 1
	}
	if err := json.NewEncoder(stdout).Encode(result); err != nil {
		fmt.Fprintf(stderr, "<3>writing the result: %v\n", err)
		return 1
	}
	return 0
}

func parse(args []string) (options, error) {
	var o options
	var have string
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.namespace, "namespace", "tinkerbell", "")
	flags.StringVar(&o.socket, "socket", "/run/containerd/containerd.sock", "")
	flags.StringVar(&o.hosts, "hosts", "/etc/containerd/certs.d", "")
	flags.StringVar(&o.out, "out", "", "")
	flags.StringVar(&have, "have", "", "")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if o.out == "" {
		return o, errors.New("--out is missing")
	}
	if flags.NArg() == 0 {
		return o, errors.New("the image is missing")
	}
	if have != "" {
		var err error
		if o.have, err = digest.Parse(have); err != nil {
			return o, fmt.Errorf("--have %q: %w", have, err)
		}
	}
	o.image, o.paths = flags.Arg(0), flags.Args()[1:]
	return o, nil
}

// normalize names an image in full, as Docker and nerdctl do.
func normalize(image string) (string, error) {
	named, err := reference.ParseDockerRef(image)
	if err != nil {
		return "", problem(fmt.Sprintf("%q is not the name of an image (%v): correct the kernel parameter that gives it", image, err))
	}
	return named.String(), nil
}

func (o options) fetch(ctx context.Context, progress io.Writer) (Result, error) {
	ctx, store, release, err := connect(ctx, connectTime, o.socket, o.namespace, o.ref)
	if err != nil {
		return Result{}, err
	}
	result, err := o.pullAndExtract(ctx, store, progress)
	release(!resumable(err))
	return result, err
}

func (o options) pullAndExtract(ctx context.Context, store store, progress io.Writer) (Result, error) {
	p := puller{
		store: store,
		resolver: docker.NewResolver(docker.ResolverOptions{
			Hosts: config.ConfigureHosts(ctx, config.HostOptions{HostDir: config.HostDirFromRoot(o.hosts)}),
		}),
		platform: platforms.Default(),
		progress: progress,
		patience: patience,
	}
	image, err := p.pull(ctx, o.ref, o.have)
	if err != nil {
		return Result{}, err
	}
	if image.known {
		return Result{Digest: image.digest}, nil
	}
	return image.extract(ctx, store, o.paths, o.out)
}
