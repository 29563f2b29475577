// Package manual tests that what a page tells operators works. It has nothing but tests.
package manual

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/attesttest"
	"github.com/ember-os/ember/attest/cmd/attestd/attestdtest"
	"github.com/ember-os/ember/os/vm/vmtest"
)

func TestMain(m *testing.M) { attesttest.Main(m) }

const page = "../../docs/operate.md"

// patience is how long a block of commands may take.
const patience = 2 * time.Minute

// names are the machines of the page, and what it calls them.
var names = map[string]string{
	"rack4":    "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
	"rack5":    "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752",
	"newboard": "fd61a03af4f77d870fc21e05e7e80678095c92d808cfb3b5c279ee04c74aca13",
}

// standIn is in the place of a program that has to do with more than this computer: the test itself does it.
const standIn = `#!/bin/bash
exec 3<>/dev/tcp/127.0.0.1/%s
echo "%s $*" >&3
read -r answer <&3
[ "$answer" = ok ] || { echo "$answer"; exit 1; }
`

// scp copies to a folder of the test in place of another computer.
const scp = `#!/bin/bash
exec cp -r "${@/#127.0.0.1:/}"
`

// site is all that the page is about.
type site struct {
	t        *testing.T
	dir      string // of everything; short, because of sockets
	server   *attestdtest.Server
	machines map[string]*machine
	builds   int
	requests chan request      // of programs that the test stands in for
	forward  *strings.Replacer // from the page to here
	back     *strings.Replacer
}

// request is a call of such a program.
type request struct {
	args   []string
	answer chan error
}

// TestOperate does what docs/operate.md says, from top to bottom: commands, with what they are said to print, and
// machines with real TPMs, with what their consoles are said to show. Addresses, ports, paths and the machines' names
// are others than on the page, and the server takes more requests of a machine, which boots more often here.
func TestOperate(t *testing.T) {
	s := newSite(t)
	output := ""
	for _, b := range blocks(t, page) {
		where := fmt.Sprintf("%s:%d", page, b.line)
		switch b.kind {
		case "sh":
			output = s.run(where, b.text)
			continue
		case "console":
			who, build, old := strings.Cut(b.who, " ")
			m, path := s.machines[who], "srv/boot/uki.efi"
			if m == nil {
				t.Fatalf("%s: there is no machine %q", where, who)
			}
			if old { // whatever the boot server has
				path = "builds/" + build
			}
			output = s.back.Replace(m.boot(filepath.Join(s.dir, path), s.server.Address))
		case "text":
		default:
			continue
		}
		if line := missing(output, b.text); line != "" {
			t.Fatalf("%s: there is no line\n%s\nin\n%s", where, line, output)
		}
	}
}

func newSite(t *testing.T) *site {
	t.Helper()
	programs := map[string]string{"attestd": vmtest.File(t, attestdtest.Env), "emberctl": vmtest.File(t, "EMBERCTL")}
	dir, err := os.MkdirTemp("", "site")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &site{t: t, dir: dir, machines: make(map[string]*machine), requests: make(chan request)}
	for _, folder := range []string{"bin", "ann", "home", "builds", "srv/boot", "var/log/attestd", "var/backups/attestd"} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, path := range programs {
		if err := os.Symlink(path, filepath.Join(dir, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	port := s.listen()
	s.script("systemctl", fmt.Sprintf(standIn, port, "systemctl"))
	s.script("scp", scp)
	if err := os.WriteFile(filepath.Join(dir, "ann/bazelw"), fmt.Appendf(nil, standIn, port, "bazelw"), 0o755); err != nil {
		t.Fatal(err)
	}
	pairs := []string{
		"attest.example.com", "127.0.0.1", "boot.example.com", "127.0.0.1",
		`":8444"`, `"127.0.0.1:` + "OPERATORS" + `"`, ":8444", ":OPERATORS", ":8080", ":STATUS",
		"/etc/attestd", dir + "/etc/attestd", "/var/", dir + "/var/", "/srv/boot", dir + "/srv/boot",
	}
	ports := strings.NewReplacer("OPERATORS", freePort(t), "STATUS", freePort(t))
	for i := range pairs {
		pairs[i] = ports.Replace(pairs[i])
	}
	for name, sample := range names {
		m := newMachine(t, name)
		s.machines[name] = m
		for _, digits := range []int{64, 16, 8} {
			pairs = append(pairs, sample[:digits], m.node[:digits])
		}
	}
	s.back = strings.NewReplacer(reversed(pairs)...)
	s.forward = strings.NewReplacer(append(pairs, "status: {", "limits: {requestsPerMachine: 1000}\nstatus: {")...)
	vendor, err := os.ReadFile(attesttest.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ann/tpm-vendor.pem"), vendor, 0o644); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) script(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, "bin", name), []byte(text), 0o755); err != nil {
		s.t.Fatal(err)
	}
}

// reversed are pairs the other way round, without those that would not come back as they were.
func reversed(pairs []string) (all []string) {
	for i := 0; i < len(pairs); i += 2 {
		if !strings.HasPrefix(pairs[i], "boot.") {
			all = append(all, pairs[i+1], pairs[i])
		}
	}
	return all
}

// run runs commands of the page, which must work, and gives what they print, as the page would have it.
func (s *site) run(where, text string) string {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), "bash", "-euo", "pipefail", "-c", s.forward.Replace(text))
	cmd.Dir = filepath.Join(s.dir, "ann")
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(s.dir, "bin")+":"+os.Getenv("PATH"), "HOME="+filepath.Join(s.dir, "home"), "XDG_CONFIG_HOME=")
	cmd.WaitDelay = time.Second
	slow := time.AfterFunc(patience, func() { cmd.Cancel() })
	defer slow.Stop()
	var out []byte
	ended := make(chan error, 1)
	go func() {
		var err error
		out, err = cmd.CombinedOutput()
		ended <- err
	}()
	for {
		select {
		case r := <-s.requests:
			r.answer <- s.do(r.args)
		case err := <-ended:
			if err != nil {
				s.t.Fatalf("%s: %v\n%s\n%s", where, err, text, out)
			}
			return s.back.Replace(string(out))
		}
	}
}

// listen serves the programs that the test stands in for.
func (s *site) listen() (port string) {
	s.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			line, err := bufio.NewReader(c).ReadString('\n')
			r := request{strings.Fields(line), make(chan error, 1)}
			if err == nil {
				s.requests <- r
				err = <-r.answer
			}
			answer := "ok"
			if err != nil {
				answer = strings.ReplaceAll(err.Error(), "\n", "; ")
			}
			fmt.Fprintln(c, answer)
			c.Close()
		}
	}()
	_, port, err = net.SplitHostPort(l.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	return port
}

func (s *site) do(args []string) error {
	switch strings.Join(args, " ") {
	case "bazelw build //os:uki //os:measurements":
		return s.build()
	case "systemctl start attestd":
		if s.server == nil {
			s.server = attestdtest.Start(s.t, filepath.Join(s.dir, "etc/attestd"))
		} else {
			s.server.Start()
		}
	case "systemctl stop attestd":
		return s.server.Stop()
	case "systemctl restart attestd":
		if err := s.server.Stop(); err != nil {
			return err
		}
		s.server.Start()
	case "systemctl reload attestd":
		return s.reload()
	default:
		return fmt.Errorf("nobody stands in for %q", args)
	}
	return nil
}

// reload has the server read its files again, and waits until it has. It looks at them by itself too, and what it says
// first may be of a look that began before: so it is asked twice.
func (s *site) reload() (err error) {
	for range 2 {
		before := len(s.server.Log())
		if err := syscall.Kill(s.server.PID(), syscall.SIGHUP); err != nil {
			return err
		}
		err = s.reloaded(before)
	}
	return err
}

// reloaded waits until the server says behind so many bytes of its log that it has.
func (s *site) reloaded(before int) error {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		said := s.server.Log()[before:]
		if strings.Contains(said, "all stays as it was") {
			return fmt.Errorf("attestd does not reload: %s", said)
		}
		if strings.Contains(said, "msg=reloaded") {
			return nil
		}
	}
	return fmt.Errorf("attestd has not reloaded after %v", patience)
}

// build builds an image of the files in its package, and what it measures.
func (s *site) build() error {
	s.builds++
	i := image{Version: fmt.Sprintf("0.%d.0", s.builds)}
	from, to := filepath.Join(s.dir, "ann/image/packages/site"), filepath.Join(s.dir, "ann/bazel-bin/os")
	pins, err := os.ReadFile(filepath.Join(from, "pins"))
	if err != nil {
		return err
	}
	keys, err := os.ReadFile(filepath.Join(from, "overlay.keys"))
	if err != nil {
		return err
	}
	i.Pins, i.Keys = strings.Fields(string(pins)), string(keys)
	file, err := json.Marshal(i)
	if err != nil {
		return err
	}
	measurements, err := i.measurements(file)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(to, "uki.efi"), file, 0o644),
		os.WriteFile(filepath.Join(to, "measurements.json"), measurements, 0o644),
		os.WriteFile(filepath.Join(s.dir, "builds", i.Version), file, 0o644),
	)
}

// freePort is one that nothing listens on, for now.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
