// Command apk makes APK packages, signed indexes of them, and public keys.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/ember-os/ember/os/cli"
	"github.com/ember-os/ember/tools/apk"
)

const usage = `usage:
  apk build --key KEY.rsa --spec SPEC.json --out NAME-VERSION.apk [--epoch SECONDS]
  apk index --key KEY.rsa --out APKINDEX.tar.gz [--description TEXT] PACKAGE.apk...
  apk public-key --key KEY.rsa --out KEY.rsa.pub

build makes a package of what the JSON document SPEC describes (Spec in
github.com/ember-os/ember/tools/apk). index lists packages as they lie in a
repository's folder <repository>/<arch>/. The signature carries the name of the
key's file with .pub appended, under which a keyring must hold the public key.
`

func main() {
	os.Exit(cli.Run("apk", usage, os.Args[1:], buildCommand(), indexCommand(), publicKeyCommand()))
}

// output is what all commands write: something signed, in a file.
type output struct{ key, path string }

func (o *output) flags(f *flag.FlagSet) {
	f.StringVar(&o.key, "key", "", "")
	f.StringVar(&o.path, "out", "", "")
}

func (o *output) write(content func(io.Writer, *apk.Key) error) error {
	if o.key == "" || o.path == "" {
		return cli.Misuse("--key and --out are needed")
	}
	text, err := os.ReadFile(o.key)
	if err != nil {
		return err
	}
	key, err := apk.ParseKey(filepath.Base(o.key)+".pub", text)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := content(&b, key); err != nil {
		return err
	}
	return os.WriteFile(o.path, b.Bytes(), 0o644)
}

func buildCommand() cli.Command {
	var o output
	var spec string
	var epoch int64
	return cli.Command{Name: "build", Flags: func(f *flag.FlagSet) {
		o.flags(f)
		f.StringVar(&spec, "spec", "", "")
		f.Int64Var(&epoch, "epoch", 0, "")
	}, Run: func(_ context.Context, args []string) error {
		if err := cli.NoArguments(args); err != nil {
			return err
		}
		return o.write(func(w io.Writer, key *apk.Key) error { return build(w, key, spec, epoch) })
	}}
}

func indexCommand() cli.Command {
	var o output
	var description string
	return cli.Command{Name: "index", Flags: func(f *flag.FlagSet) {
		o.flags(f)
		f.StringVar(&description, "description", "", "")
	}, Run: func(_ context.Context, packages []string) error {
		return o.write(func(w io.Writer, key *apk.Key) error { return index(w, key, description, packages) })
	}}
}

func publicKeyCommand() cli.Command {
	var o output
	return cli.Command{Name: "public-key", Flags: o.flags, Run: func(_ context.Context, args []string) error {
		if err := cli.NoArguments(args); err != nil {
			return err
		}
		return o.write(publicKey)
	}}
}

func build(w io.Writer, key *apk.Key, specPath string, epoch int64) error {
	f, err := os.Open(specPath)
	if err != nil {
		return err
	}
	defer f.Close()
	var spec apk.Spec
	decoder := json.NewDecoder(f)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&spec); err != nil {
		return fmt.Errorf("reading %s: %w", specPath, err)
	}
	return apk.Build(w, &spec, key, time.Unix(epoch, 0).UTC())
}

func index(w io.Writer, key *apk.Key, description string, paths []string) error {
	var packages []*apk.Package
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		p, err := apk.Read(data)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if name := p.FileName(); filepath.Base(path) != name {
			return fmt.Errorf("%s: apko looks for this package as %s", path, name)
		}
		packages = append(packages, p)
	}
	return apk.WriteIndex(w, description, packages, key)
}

func publicKey(w io.Writer, key *apk.Key) error {
	text, err := key.Public()
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}
