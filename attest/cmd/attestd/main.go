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
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ember-os/ember/attest/admin"
	"github.com/ember-os/ember/attest/client"
	"github.com/ember-os/ember/attest/roster"
	"github.com/ember-os/ember/attest/store"
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

For operators, while the server runs:
  queue              list the machines that wait to be enrolled
  machines           list those that are enrolled or revoked
  approve NODE       enroll a machine of the queue
  dismiss NODE       take a machine off the queue; it may come again
  enroll NODE|FILE   enroll machines: by name, or a file with keys in PEM or names
  revoke NODE        let a machine in no more
  forget NODE        undo enroll, approve and revoke
  backup FOLDER      copy the data folder to a new folder

While no server runs:
  import FOLDER      put what the store of such a copy has into the store of the
                     configuration, which must be empty: to go on with etcd

NODE is the SHA-256 of the machine's endorsement key, 64 hex digits.

Flags:
  --config PATH      the configuration (default ` + defaultConfig + `)
  --listen ADDRESS   serve, check: instead of "listen" in the configuration
  --data FOLDER      instead of "data"
  --debug            serve: log connections that fail
  --out FOLDER       certificate: where tls.pem and tls-key.pem go (default .)
  --note TEXT        approve, enroll, revoke: kept with the machine
`

// flags are those that come before the configuration.
type flags struct {
	listen, data string
}

func main() { os.Exit(cli.Run("attestd", usage, os.Args[1:], commands()...)) }

func commands() []cli.Command {
	var f flags
	var config, note, out string
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
	noted := func(s *flag.FlagSet) {
		everywhere(s)
		s.StringVar(&note, "note", "", "")
	}
	connect := func() (*admin.Client, error) {
		c, err := readConfig(config, f)
		if err != nil {
			return nil, err
		}
		return admin.Unix(c.Admin), nil
	}
	// alone is a command for one machine.
	alone := func(name string, flags func(*flag.FlagSet), do func(*admin.Client, context.Context, string) error) cli.Command {
		return cli.Command{Name: name, Flags: flags, Run: func(ctx context.Context, args []string) error {
			if len(args) != 1 {
				return cli.Misuse("%s needs the name of one machine", name)
			}
			if err := store.CheckNode(args[0]); err != nil {
				return cli.Misuse("%v", err)
			}
			c, err := connect()
			if err != nil {
				return err
			}
			return do(c, ctx, args[0])
		}}
	}
	withNote := func(do func(*admin.Client, context.Context, string, string) error) func(*admin.Client, context.Context, string) error {
		return func(c *admin.Client, ctx context.Context, node string) error { return do(c, ctx, node, note) }
	}
	list := func(name string, show func(context.Context, *admin.Client) error) cli.Command {
		return cli.Command{Name: name, Flags: everywhere, Run: func(ctx context.Context, args []string) error {
			if err := cli.NoArguments(args); err != nil {
				return err
			}
			c, err := connect()
			if err != nil {
				return err
			}
			return show(ctx, c)
		}}
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
		list("queue", showQueue),
		list("machines", showMachines),
		alone("approve", noted, withNote((*admin.Client).Approve)),
		alone("revoke", noted, withNote((*admin.Client).Revoke)),
		alone("dismiss", everywhere, (*admin.Client).Dismiss),
		alone("forget", everywhere, (*admin.Client).Forget),
		{Name: "enroll", Flags: noted, Run: func(ctx context.Context, args []string) error {
			nodes, err := named(args)
			if err != nil {
				return err
			}
			c, err := connect()
			if err != nil {
				return err
			}
			for _, node := range nodes {
				if err := c.Enroll(ctx, node, note); err != nil {
					return fmt.Errorf("enrolling %s: %w", node, err)
				}
			}
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

// named are machines by name, or those in a file.
func named(args []string) ([]string, error) {
	if len(args) != 1 {
		return nil, cli.Misuse("enroll needs the name of a machine, or a file")
	}
	if store.CheckNode(args[0]) == nil {
		return args, nil
	}
	b, err := os.ReadFile(args[0])
	if err != nil {
		return nil, fmt.Errorf("reading machines: %w", err)
	}
	machines, err := roster.Parse(b)
	if err != nil {
		return nil, fmt.Errorf("reading machines of %s: %w", args[0], err)
	}
	return sortedKeys(machines), nil
}

func showQueue(ctx context.Context, c *admin.Client) error {
	queue, err := c.Queue(ctx)
	if err != nil {
		return err
	}
	return table("NODE\tLAST\tADDRESS\tSERIAL\tMODEL\tPROBLEM\tEK SIGNED BY", queue, func(w store.Waiting) []string {
		return []string{w.Node, w.Last.Format(time.RFC3339), w.Address, w.Claims.Serial, w.Claims.Model, w.Problem, w.Issuer}
	})
}

func showMachines(ctx context.Context, c *admin.Client) error {
	machines, err := c.Machines(ctx)
	if err != nil {
		return err
	}
	return table("NODE\tSTATE\tSINCE\tBY\tNOTE", machines, func(m store.Machine) []string {
		return []string{m.Node, string(m.State), m.Time.Format(time.RFC3339), m.By, m.Note}
	})
}

// table prints rows. A terminal's control characters in what machines say are not printed.
func table[T any](header string, rows []T, cells func(T) []string) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, header)
	for _, r := range rows {
		fmt.Fprintln(w, strings.Join(printable(cells(r)), "\t"))
	}
	return w.Flush()
}
