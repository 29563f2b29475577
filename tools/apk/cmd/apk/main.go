// Command apk makes APK packages, signed indexes of them, and public keys.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

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
	if err := run(os.Args[1:]); err != nil {
		var wrong usageError
		if errors.As(err, &wrong) {
			fmt.Fprintf(os.Stderr, "apk: %v\n%s", err, usage)
			os.Exit(2)
		}
		fmt.Fprintf(os.Stderr, "apk: %v\n", err)
		os.Exit(1)
	}
}

type usageError string

func (e usageError) Error() string { return string(e) }

func run(args []string) error {
	if len(args) == 0 {
		return usageError("no command given")
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.SetOutput(new(bytes.Buffer))
	keyPath := flags.String("key", "", "")
	out := flags.String("out", "", "")
	var command func(*bytes.Buffer, *apk.Key) error
	switch args[0] {
	case "build":
		spec := flags.String("spec", "", "")
		epoch := flags.Int64("epoch", 0, "")
		command = func(b *bytes.Buffer, key *apk.Key) error { return build(b, key, *spec, *epoch) }
	case "index":
		description := flags.String("description", "", "")
		command = func(b *bytes.Buffer, key *apk.Key) error { return index(b, key, *description, flags.Args()) }
	case "public-key":
		command = publicKey
	case "help", "--help", "-h":
		fmt.Print(usage)
		return nil
	default:
		return usageError("no command " + args[0])
	}
	if err := flags.Parse(args[1:]); errors.Is(err, flag.ErrHelp) {
		fmt.Print(usage)
		return nil
	} else if err != nil {
		return usageError(err.Error())
	}
	if *keyPath == "" || *out == "" {
		return usageError("--key and --out are needed")
	}
	text, err := os.ReadFile(*keyPath)
	if err != nil {
		return err
	}
	key, err := apk.ParseKey(filepath.Base(*keyPath)+".pub", text)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := command(&b, key); err != nil {
		return err
	}
	return os.WriteFile(*out, b.Bytes(), 0o644)
}

func build(b *bytes.Buffer, key *apk.Key, specPath string, epoch int64) error {
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
	return apk.Build(b, &spec, key, time.Unix(epoch, 0).UTC())
}

func index(b *bytes.Buffer, key *apk.Key, description string, paths []string) error {
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
	return apk.WriteIndex(b, description, packages, key)
}

func publicKey(b *bytes.Buffer, key *apk.Key) error {
	text, err := key.Public()
	b.Write(text)
	return err
}
