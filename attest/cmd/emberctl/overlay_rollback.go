package main

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/ember-os/ember/attest/admin"
	"github.com/ember-os/ember/attest/overlay/depot"
	"github.com/ember-os/ember/attest/overlay/manifest"
)

// rollback is what the flags of overlay rollback say.
type rollback struct {
	connection
	key, expires           string
	version                uint64
	downgrade, yes, asJSON bool
}

func (a *app) overlayRollback() *cobra.Command {
	var r rollback
	c := &cobra.Command{
		Use:   "rollback NAME VERSION --key FILE | --downgrade",
		Short: "Publish an older version again",
		Long: `Publish what an older version has, which the server has kept.

With --key, the one that signs, the older contents get the next version: for machines
and servers it is an update like any other. Only a manifest is made and sent, as the
ciphertext is on the server. This is the way to go back. Several servers that have no
folder in common are told one by one, with --version the same for all.

With --downgrade the older version itself is published, and the server forgets that
there were newer ones, which may be published again as well. It needs no key. Machines
of a policy whose version is higher get nothing then.

In both cases secrets of the old version are in use again. Machines that run keep what
they have: they get the other one when they boot.`,
		Example: `  emberctl overlay list rack
  emberctl overlay rollback rack 6 --key keys/signing.key
  emberctl overlay rollback rack 6 --downgrade --yes`,
		Args: takes("the name of an overlay", "a version"),
		RunE: func(cmd *cobra.Command, args []string) error {
			version, err := strconv.ParseUint(args[1], 10, 64)
			switch {
			case err != nil || !manifest.IsName(args[0]):
				return misuse("%q %q are not the name of an overlay and a version", args[0], args[1])
			case r.downgrade == (r.key != ""):
				return misuse("one of --key and --downgrade must be given: with the key that signs, the old contents get a new version")
			case r.downgrade && (r.expires != "" || r.version != 0):
				return misuse("--expires and --version are for a new version, which --key makes")
			}
			return a.rollback(cmd.Context(), r, args[0], version)
		},
	}
	c.Flags().StringVar(&r.key, "key", "", "private key that signs manifests")
	c.Flags().StringVar(&r.expires, "expires", "", "when the new version expires: 30d, 2027-01-31, … (default: as the old one)")
	c.Flags().Uint64Var(&r.version, "version", 0, "number of the new version (default: the next one)")
	c.Flags().BoolVar(&r.downgrade, "downgrade", false, "publish the old version as it is")
	yesFlag(c, &r.yes)
	jsonFlag(c, &r.asJSON)
	r.add(c)
	c.ValidArgsFunction = r.complete(overlayNames, overlayVersions)
	return c
}

func (a *app) rollback(ctx context.Context, r rollback, name string, version uint64) error {
	client, err := r.client()
	if err != nil {
		return err
	}
	before, err := r.overlayBefore(ctx, client, name)
	if err != nil {
		return err
	}
	if !has(before, version) {
		return fmt.Errorf("version %d of overlay %s: %w: emberctl overlay list %s shows those that are kept", version, name, depot.ErrNotFound, name)
	}
	publish, what, err := r.plan(ctx, client, before, version)
	if err != nil {
		return err
	}
	if err := a.confirm(ctx, r.yes, "%s\nMachines get it when they boot, with the secrets that it has.", what); err != nil {
		return err
	}
	v, err := publish(ctx) // in the time that the server needs to read the ciphertext again
	if err != nil {
		return err
	}
	if r.asJSON {
		return printJSON(a.stdout, v)
	}
	return a.printf("published version %d of overlay %s%s\n", v.Version, name, instead(before, v.Version))
}

func has(o depot.Overlay, version uint64) bool {
	for _, v := range o.Versions {
		if v.Version == version {
			return true
		}
	}
	return false
}

// plan is what will be done, and how to say that.
func (r *rollback) plan(ctx context.Context, c *admin.Client, before depot.Overlay, version uint64) (do func(context.Context) (depot.Version, error), what string, err error) {
	name := before.Name
	if r.downgrade {
		return func(ctx context.Context) (depot.Version, error) { return c.Downgrade(ctx, name, version) },
			fmt.Sprintf("This publishes version %d of overlay %s as it is%s, and forgets that version %d was published.", version, name, instead(before, 0), before.Newest), nil
	}
	var signed []byte
	err = r.within(ctx, func(ctx context.Context) error {
		signed, err = c.Manifest(ctx, name, version)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	signer, err := readSigner(ctx, r.key)
	if err != nil {
		return nil, "", err
	}
	// The server is not believed: what it gives must be what this key has signed before.
	m, err := manifest.Open(signed, public(signer))
	if err == nil && (m.Name != name || m.Version != version) {
		err = fmt.Errorf("the server gives the manifest of %s for it", m)
	}
	if err != nil {
		return nil, "", fmt.Errorf("version %d of overlay %s, is %s the key that has signed it? %w", version, name, r.key, err)
	}
	if err := r.renew(m, cmp.Or(r.version, next(before)), time.Now()); err != nil {
		return nil, "", err
	}
	if signed, err = manifest.Sign(m, signer); err != nil {
		return nil, "", err
	}
	return func(ctx context.Context) (depot.Version, error) { return c.Reissue(ctx, name, version, signed) },
		fmt.Sprintf("This publishes the contents of version %d of overlay %s as version %d%s.", version, name, m.Version, instead(before, 0)), nil
}

// next is a version that there never was, not even before a downgrade.
func next(o depot.Overlay) uint64 {
	newest := o.Newest
	for _, v := range o.Versions {
		newest = max(newest, v.Version)
	}
	return newest + 1
}

// renew makes an old manifest that of another version.
func (r *rollback) renew(m *manifest.Manifest, version uint64, now time.Time) error {
	m.Version, m.Created = version, now.UTC().Truncate(time.Second)
	if r.expires != "" {
		var err error
		if m.Expires, err = expiry(r.expires, m.Created); err != nil {
			return err
		}
	}
	if !m.Expires.IsZero() && !m.Created.Before(m.Expires) {
		return misuse("it expired on %s: say with --expires until when it is good now", m.Expires.Format(time.RFC3339))
	}
	return nil
}
