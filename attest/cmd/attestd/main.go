// The program attestd is the attestation server; docs/attestd.md is its manual. It is a configuration, files
// that are read again when they change, listeners and signals around package server.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/ember-os/ember/attest/client"
	"github.com/ember-os/ember/os/cli"
)

const defaultConfig = "/etc/attestd/attestd.yaml"

const usage = `usage: attestd COMMAND [flags] [arguments]

attestd lets machines in that prove with their TPM what they are and what they
have booted, and gives them their configuration.

The server:
  serve              run, until SIGTERM; SIGHUP reads the files again
  check              read the configuration and all files it names, and stop
  certificate NAME   make a key and a certificate for these names and addresses,
                     and say how machines are told to trust it

While it runs:
  backup FOLDER      copy the data folder to a new folder

While no server runs:
  import FOLDER      put what the store of such a copy has into the store of the
                     configuration, which must be empty: to go on with etcd

Operators have emberctl. Here, as the user that attestd runs as, it needs no key:
emberctl queue --server unix:PATH, where PATH is "admin" in the configuration, or
admin.sock in the data folder.

Flags:
  --config PATH      the configuration (default ` + defaultConfig + `)
  --listen ADDRESS   serve, check: instead of "listen" in the configuration
  --data FOLDER      instead of "data"
  --debug            serve: log connections that fail
  --out FOLDER       certificate: where tls.pem and tls-key.pem go (default .)
`

// flags are those that come before the configuration.
type flags struct {
	listen, data string
}

func main() { os.Exit(cli.Run("attestd", usage, os.Args[1:], commands()...)) }

func commands() []cli.Command {
	var f flags
	var config, out string
	var debug bool
	everywhere := func(s *flag.FlagSet) {
		s.StringVar(&config, "config", defaultConfig, "")
		s.StringVar(&f.data, "data", "", "")
	}
	forServer := func(s *flag.FlagSet) {
		everywhere(s)
		s.StringVar(&f.listen, "listen", "", "")
		s.BoolVar(&debug, "debug", false, "")
	}
	return []cli.Command{
		{Name: "serve", Flags: forServer, Run: func(ctx context.Context, args []string) error {
			if err := cli.NoArguments(args); err != nil {
				return err
			}
			options := &slog.HandlerOptions{Level: slog.LevelInfo}
			if debug {
				options.Level = slog.LevelDebug
			}
			return serve(ctx, config, f, slog.New(slog.NewTextHandler(os.Stderr, options)))
		}},
		{Name: "check", Flags: forServer, Run: func(ctx context.Context, args []string) error {
			if err := cli.NoArguments(args); err != nil {
				return err
			}
			return check(ctx, os.Stdout, config, f)
		}},
		{Name: "certificate", Flags: func(s *flag.FlagSet) { s.StringVar(&out, "out", ".", "") }, Run: func(_ context.Context, args []string) error {
			if len(args) == 0 {
				return cli.Misuse("certificate needs a name or address of the server")
			}
			return makeCertificate(os.Stdout, out, args, time.Now())
		}},
		{Name: "backup", Flags: everywhere, Run: func(ctx context.Context, args []string) error {
			if len(args) != 1 {
				return cli.Misuse("backup needs the name of a new folder")
			}
			c, err := readConfig(config, f)
			if err != nil {
				return err
			}
			return backup(ctx, c, args[0])
		}},
		{Name: "import", Flags: everywhere, Run: func(ctx context.Context, args []string) error {
			if len(args) != 1 {
				return cli.Misuse("import needs the name of a folder that backup has made")
			}
			c, err := readConfig(config, f)
			if err != nil {
				return err
			}
			n, err := restore(ctx, c, args[0])
			if err != nil {
				return err
			}
			fmt.Printf("%d entries are in the store\n", n)
			return nil
		}},
	}
}

// check tells of all that is wrong, also of what a server would only warn of. If nothing is, it says how others know
// this server.
func check(ctx context.Context, stdout io.Writer, path string, f flags) error {
	c, err := readConfig(path, f)
	if err != nil {
		return err
	}
	l, err := load(ctx, c, nil, nil)
	if err != nil {
		return err
	}
	if len(c.Store.Etcd.Endpoints) > 0 {
		if _, err := c.Store.Etcd.settings(); err != nil {
			return err
		}
	}
	for _, warning := range l.warnings {
		fmt.Fprintln(os.Stderr, "attestd:", warning)
	}
	if n := len(l.warnings); n > 0 {
		return fmt.Errorf("%d problems in the files that %s names", n, filepath.Base(path))
	}
	if l.certificate == nil {
		return nil
	}
	leaf := l.certificate.Leaf
	_, err = fmt.Fprintf(stdout, "the pin of the TLS key is %s, its certificate ends at %s\n", client.PinOf(leaf), leaf.NotAfter.UTC().Format(time.RFC3339))
	return err
}
