package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"filippo.io/age"
	"github.com/ember-os/ember/os/cli"
)

// The files that keygen makes. Machines find the public key under the same name in /etc/ember/attest.
const (
	signingFile   = "signing.key"
	keysFile      = "overlay.keys"
	identityFile  = "attestd.identity"
	recipientFile = "attestd.recipient"
)

func keygenCommand(stdout io.Writer) cli.Command {
	var out string
	var passphrase bool
	return cli.Command{
		Name: "keygen",
		Flags: func(f *flag.FlagSet) {
			f.StringVar(&out, "out", ".", "")
			f.BoolVar(&passphrase, "passphrase", false, "")
		},
		Run: func(_ context.Context, args []string) error {
			if err := cli.NoArguments(args); err != nil {
				return err
			}
			word := ""
			if passphrase {
				var err error
				if word, err = choosePassphrase(); err != nil {
					return err
				}
			}
			return keygen(stdout, out, word)
		},
	}
}

func keygen(stdout io.Writer, dir, passphrase string) error {
	_, signer, err := ed25519.GenerateKey(nil)
	if err != nil {
		return fmt.Errorf("making a signing key: %w", err)
	}
	private, err := formatKey(signer, passphrase, workFactor)
	if err != nil {
		return err
	}
	server, err := age.GenerateHybridIdentity()
	if err != nil {
		return fmt.Errorf("making the server's key: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, file := range []struct {
		name, text string
		mode       os.FileMode
	}{
		{signingFile, string(private), 0o600},
		{keysFile, public(signer).String() + "\n", 0o644},
		{identityFile, server.String() + "\n", 0o600},
		{recipientFile, server.Recipient().String() + "\n", 0o644},
	} {
		if err := writeNew(filepath.Join(dir, file.name), file.text, file.mode); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(stdout, `%[1]s signs overlays. Keep it off machines and servers: whoever has it can write the
configuration of every machine.
%[2]s tells machines who signs: put it into the image as /etc/ember/attest/%[2]s, or
the key on the kernel command line:
  ember.overlay_key=%[5]s
%[3]s opens overlays for machines that attest: give it to attestd, and to nobody else.
%[4]s is what overlays are sealed to.
`, filepath.Join(dir, signingFile), keysFile, filepath.Join(dir, identityFile), filepath.Join(dir, recipientFile), public(signer))
	return err
}

// writeNew writes a file that is not there yet.
func writeNew(path, text string, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s is there already, and keys are not replaced: choose another directory", path)
	} else if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Sync(), f.Close())
}
