package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/spf13/cobra"

	"github.com/ember-os/ember/attest/admin"
	"github.com/ember-os/ember/attest/overlay/depot"
	"github.com/ember-os/ember/attest/overlay/manifest"
	"github.com/ember-os/ember/attest/overlay/seal"
	"github.com/ember-os/ember/attest/store"
)

func (a *app) overlayPublish() *cobra.Command {
	var o connection
	var asJSON bool
	c := &cobra.Command{
		Use:   "publish FOLDER",
		Short: "Send an overlay to a server, which gives it to machines from then on",
		Long: `Send the overlay that emberctl seal has made to a server. It takes the place of the
version before at once, once all of it is there, its signature and its ciphertext are
right and the server can open it; the version before is kept. A machine gets the new
one when it boots.

A version that is not newer than all that were published is refused: seal it again,
or see emberctl overlay rollback. The very same version again is no error. --timeout
is not for the transfer itself, which goes on as long as something moves.`,
		Example: `  emberctl seal tree --name rack --key keys/signing.key --recipient keys/attestd.recipient --out overlays
  emberctl overlay publish overlays/rack`,
		Args: takes("the folder of an overlay"),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := sealedIn(args[0])
			if err != nil {
				return err
			}
			client, err := o.client()
			if err != nil {
				return err
			}
			before, err := o.overlayBefore(cmd.Context(), client, m.Name)
			if err != nil {
				return err
			}
			if before.Newest > m.Version {
				return fmt.Errorf("version %d of overlay %s is not published: %w, version %d: seal it again with --version %d, or see emberctl overlay rollback", m.Version, m.Name, store.ErrOlder, before.Newest, next(before))
			}
			progress, end := a.progress(m)
			v, err := client.Publish(cmd.Context(), m.Name, args[0], progress)
			end()
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(a.stdout, v)
			}
			return a.printf("published version %d of overlay %s%s\n", v.Version, m.Name, instead(before, v.Version))
		},
	}
	jsonFlag(c, &asJSON)
	o.add(c)
	return c
}

func sealedIn(folder string) (*manifest.Manifest, error) {
	b, err := os.ReadFile(filepath.Join(folder, seal.ManifestFile))
	if err != nil {
		return nil, fmt.Errorf("reading the overlay: %w: a folder that emberctl seal has made is published", err)
	}
	m, err := manifest.Peek(b)
	if err != nil {
		return nil, fmt.Errorf("reading the overlay: %w", err)
	}
	return m, nil
}

// overlayBefore is what the server has of an overlay, which may be nothing.
func (o *connection) overlayBefore(ctx context.Context, c *admin.Client, name string) (before depot.Overlay, err error) {
	err = o.within(ctx, func(ctx context.Context) error {
		before, err = c.Overlay(ctx, name)
		return err
	})
	if errors.Is(err, depot.ErrNotFound) {
		return depot.Overlay{Name: name}, nil
	}
	return before, err
}

// instead says what a version takes the place of.
func instead(before depot.Overlay, version uint64) string {
	if len(before.Versions) == 0 || !before.Versions[0].Published {
		return ""
	}
	if before.Versions[0].Version == version {
		return ", which was there already"
	}
	return fmt.Sprintf(" in the place of version %d", before.Versions[0].Version)
}

// progress shows a terminal how much of an overlay has been sent.
func (a *app) progress(m *manifest.Manifest) (sent func(int64), end func()) {
	f, ok := a.stderr.(*os.File)
	if !ok || !isTerminal(f) {
		return nil, func() {}
	}
	var mu sync.Mutex
	var all, shown int64
	return func(n int64) {
			mu.Lock()
			defer mu.Unlock()
			all += n
			if percent := min(100, 100*all/m.Ciphertext.Size); percent > shown {
				shown = percent
				fmt.Fprintf(f, "\rsending %s: %d %%", m, percent)
			}
		}, func() {
			mu.Lock()
			defer mu.Unlock()
			if shown > 0 {
				fmt.Fprintln(f)
			}
		}
}
