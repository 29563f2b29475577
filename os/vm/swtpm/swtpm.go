// Package swtpm makes and runs software TPMs 2.0 for virtual machines, with
// swtpm and swtpm_setup from a tool root.
//
// A TPM is a directory of state. [Manufacture] fills it once: seeds, an RSA
// 2048 EK with its certificate at NV index 0x1c00002 and an ECC P-384 EK with
// its certificate at 0x1c00016, both signed by a test CA, and SHA-256 as the
// only PCR bank, because each further bank costs firmware seconds of hashing.
// [Start] serves it to one virtual machine; what the machine writes to NV is in
// the directory when it is started again.
package swtpm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/ember-os/ember/tools/toolroot"
)

const stateFile = "tpm2-00.permall"

// Manufactured tells whether dir holds a TPM.
func Manufactured(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, stateFile))
	return err == nil
}

// Manufacture makes a TPM in dir, which is made if need be and must hold none.
// Name becomes the common name of its EK certificates. A failure says what
// swtpm_setup said.
func Manufacture(ctx context.Context, root toolroot.Root, ca CA, name, dir string) error {
	if err := manufacture(ctx, root, ca, name, dir); err != nil {
		return fmt.Errorf("manufacturing a TPM: %w", err)
	}
	return nil
}

func manufacture(ctx context.Context, root toolroot.Root, ca CA, name, dir string) error {
	if Manufactured(dir) {
		return fmt.Errorf("%s holds one already", dir)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	conf, err := os.MkdirTemp("", "swtpm")
	if err != nil {
		return err
	}
	defer os.RemoveAll(conf)
	for file, text := range map[string]string{
		"setup.conf": "create_certs_tool = /usr/bin/swtpm_localca\ncreate_certs_tool_config = /conf/ca.conf\ncreate_certs_tool_options = /conf/ca.options\n",
		"ca.conf":    "statedir = /ca\nsigningkey = /ca/key.pem\nissuercert = /ca/cert.pem\ncertserial = /ca/serial\n",
		"ca.options": "--platform-manufacturer QEMU\n--platform-version 1\n--platform-model QEMU\n",
	} {
		if err := os.WriteFile(filepath.Join(conf, file), []byte(text), 0o644); err != nil {
			return err
		}
	}
	cmd, err := root.Command(ctx, toolroot.Options{
		Binds: []toolroot.Bind{
			{Src: conf, Dst: "/conf"},
			{Src: ca.dir, Dst: "/ca", Write: true},
			{Src: dir, Dst: "/tpm", Write: true},
		},
		NoNet: true,
	}, "swtpm_setup", "--tpm2", "--tpmstate", "/tpm", "--config", "/conf/setup.conf",
		"--vmid", name, "--create-ek-cert", "--pcr-banks", "sha256")
	if err != nil {
		return err
	}
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("swtpm_setup: %w\n%s", err, log.Bytes())
	}
	return nil
}

// TPM is a running software TPM.
type TPM struct {
	log  string
	stop context.CancelFunc
	done chan struct{}
	err  error // of the process, once done is closed
}

// Start serves the TPM in the directory state on the Unix socket sockDir/name,
// where it is ready when Start returns, until Close, or until a client was
// there and is gone. It logs to sockDir/name.log. ctx bounds the start only, so
// that a machine which ends with ctx loses its TPM last.
func Start(ctx context.Context, root toolroot.Root, state, sockDir, name string) (*TPM, error) {
	if !Manufactured(state) {
		return nil, fmt.Errorf("starting swtpm: %s holds no TPM", state)
	}
	socket := filepath.Join(sockDir, name)
	listens := socket + ".pid" // swtpm writes it once it listens
	for _, file := range []string{socket, listens} {
		if err := os.RemoveAll(file); err != nil {
			return nil, fmt.Errorf("starting swtpm: %w", err)
		}
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	cmd, err := root.Command(run, toolroot.Options{
		Binds: []toolroot.Bind{{Src: state, Dst: "/tpm", Write: true}, {Src: sockDir, Dst: "/sock", Write: true}},
		NoNet: true,
	}, "swtpm", "socket", "--tpm2", "--tpmstate", "dir=/tpm", "--ctrl", "type=unixio,path=/sock/"+name,
		"--log", "file=/sock/"+name+".log,truncate", "--pid", "file=/sock/"+name+".pid", "--terminate")
	if err != nil {
		stop()
		return nil, fmt.Errorf("starting swtpm: %w", err)
	}
	if err := cmd.Start(); err != nil {
		stop()
		return nil, fmt.Errorf("starting swtpm: %w", err)
	}
	t := &TPM{log: socket + ".log", stop: stop, done: make(chan struct{})}
	go func() {
		t.err = cmd.Wait()
		close(t.done)
	}()
	if err := t.ready(ctx, listens); err != nil {
		err = fmt.Errorf("starting swtpm: %w\n%s", err, t.Log())
		t.Close()
		return nil, err
	}
	return t, nil
}

func (t *TPM) ready(ctx context.Context, listens string) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(listens); err == nil {
			return nil
		}
		select {
		case <-t.done:
			return errors.Join(errors.New("it ended at once"), t.err)
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// Log returns what swtpm has logged, for an error message.
func (t *TPM) Log() string {
	b, err := os.ReadFile(t.log)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Close stops the TPM. Its state stays.
func (t *TPM) Close() {
	t.stop()
	<-t.done
}
