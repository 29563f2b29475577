package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/ember-os/ember/attest/operator"
)

// The files that keygen makes. Machines find the public key under the same name in /etc/ember/attest.
const (
	signingFile   = "signing.key"
	keysFile      = "overlay.keys"
	identityFile  = "attestd.identity"
	recipientFile = "attestd.recipient"
	operatorKey   = ".key" // behind the operator's name
)

func (a *app) keygen() *cobra.Command {
	var out, name string
	var passphrase bool
	c := &cobra.Command{
		Use:   "keygen [--operator NAME]",
		Short: "Make keys",
		Long: `Make the keys for overlays, four files, and say what each is for: signing.key,
overlay.keys, attestd.identity and attestd.recipient.

With --operator it makes a key for an operator instead: NAME.key, which is yours,
and NAME.pem, which servers get to know you by.

No file is replaced.`,
		Example: `  emberctl keygen --out keys
  emberctl keygen --out keys --passphrase
  emberctl keygen --operator ann`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if name != "" {
				if passphrase {
					return misuse("--passphrase is for signing.key")
				}
				return keygenOperator(a.stdout, out, name, time.Now())
			}
			word := ""
			if passphrase {
				var err error
				if word, err = choosePassphrase(cmd.Context()); err != nil {
					return err
				}
			}
			return keygen(a.stdout, out, word)
		},
	}
	c.Flags().StringVar(&out, "out", ".", "folder for the files")
	c.Flags().BoolVar(&passphrase, "passphrase", false, "ask for one, which signing.key then needs")
	c.Flags().StringVar(&name, "operator", "", "make a key for an operator of this name")
	return c
}

// keygenOperator makes the two files of an operator.
func keygenOperator(stdout io.Writer, dir, name string, now time.Time) error {
	if err := operator.CheckName(name); err != nil {
		return misuse("%w", err)
	}
	private, public, err := operator.NewIdentity(name, now)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	key, certificate := filepath.Join(dir, name+operatorKey), filepath.Join(dir, name+operator.Extension)
	if err := writeNew(key, string(private), 0o600); err != nil {
		return err
	}
	if err := writeNew(certificate, string(public), 0o644); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, `%[1]s is your key: whoever has it can do what you can. Name it in a context:
  emberctl context set NAME --server https://HOST:8444 --pin PIN --operator %[1]s
%[2]s is for whoever runs attestd: it belongs into the folder that is operators.folder in its
configuration. The file's name is yours in the audit log.
`, key, certificate)
	return err
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
