package manual

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/attesttest"
	"github.com/ember-os/ember/attest/cmd/attestd/attestdtest"
	"github.com/ember-os/ember/attest/store/etcd/etcdtest"
	"github.com/ember-os/ember/os/vm/vmtest"
)

// patience is how long a block of commands may take.
const patience = 2 * time.Minute

// standIn is in the place of a program that has to do with more than this computer: the test itself does it.
const standIn = `#!/bin/bash
exec 3<>/dev/tcp/127.0.0.1/%s
echo "$COMPUTER %s $*" >&3
read -r answer <&3
[ "$answer" = ok ] || { echo "$answer"; exit 1; }
`

// scp copies to a folder of the test in place of another computer.
const scp = `#!/bin/bash
exec cp -r "${@/#127.0.0.1:/}"
`

// site is all that the page is about.
type site struct {
	t         *testing.T
	dir       string      // of everything; short, because of sockets
	ports     [2]string   // of operators, by computer
	computers []*computer // the first is Ann's too
	machines  map[string]*machine
	builds    int
	requests  chan request
	back      *strings.Replacer // from here to the page
}

// second is what blocks of the second computer begin with.
const second = "# the second server\n"

// request is a call of a program that the test stands in for.
type request struct {
	computer *computer
	args     []string
	answer   chan error
}

func newSite(t *testing.T) *site {
	t.Helper()
	programs := map[string]string{"attestd": vmtest.File(t, attestdtest.Env), "emberctl": vmtest.File(t, "EMBERCTL")}
	dir, err := os.MkdirTemp("", "site")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &site{t: t, dir: dir, ports: [2]string{attestdtest.FreePort(t), attestdtest.FreePort(t)}, machines: make(map[string]*machine), requests: make(chan request)}
	for _, folder := range []string{"bin", "ann", "home", "builds", "srv/boot", "var/log/attestd", "var/backups/attestd", "second/etc", "second/var/log/attestd"} {
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
	var ids []string
	for name, sample := range names {
		m := newMachine(t, name)
		s.machines[name] = m
		for _, digits := range []int{64, 16, 8} {
			ids = append(ids, sample[:digits], m.node[:digits])
		}
	}
	etcd := etcdtest.Start(t, 1, nil)[0].Endpoint()
	first, other := s.computer(dir, etcd, ids), s.computer(filepath.Join(dir, "second"), etcd, ids)
	both := append(reversed(first), reversed(other)...)
	s.back = strings.NewReplacer(both...)
	var moved []string
	for i, text := range first {
		moved = append(moved, text, other[i])
	}
	s.computers[1].moved = strings.NewReplacer(moved...)
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

// computer adds one, whose files are in root, and gives what of the page is otherwise on it, in pairs.
func (s *site) computer(root, etcd string, ids []string) []string {
	operators, status := s.ports[len(s.computers)], attestdtest.FreePort(s.t)
	c := &computer{root: root}
	s.computers = append(s.computers, c)
	pairs := append([]string{
		`":8444"`, `"127.0.0.1:` + operators + `"`, "127.0.0.1:8080", "127.0.0.1:" + status,
		"/etc/attestd", root + "/etc/attestd", "/var/", root + "/var/", "/srv/boot", s.dir + "/srv/boot",
		"https://etcd1.example.com:2379", etcd,
	}, ids...)
	first := s.computers[0]
	c.forward = strings.NewReplacer(append([]string{
		"attest.example.com:/", "127.0.0.1:" + first.root + "/", "boot.example.com:/", "127.0.0.1:" + s.dir + "/",
		"attest.example.com", "127.0.0.1", "attest2.example.com:8444", "127.0.0.1:" + s.ports[1], ":8444", ":" + operators,
		`, "https://etcd2.example.com:2379", "https://etcd3.example.com:2379"`, "",
		"status: {", "limits: {requestsPerMachine: 1000}\nstatus: {",
	}, pairs...)...)
	return pairs
}

// reversed are pairs the other way round.
func reversed(pairs []string) (all []string) {
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, pairs[i+1], pairs[i])
	}
	return append(all, "127.0.0.1", "attest.example.com")
}

// address is where machines find a server.
func (s *site) address() string {
	for _, c := range s.computers {
		if c.server != nil && c.server.Running() {
			return c.server.Address
		}
	}
	s.t.Fatal("no server runs")
	return ""
}

// run runs commands of the page, which must work, and gives what they print, as the page would have it.
func (s *site) run(where, text string) string {
	s.t.Helper()
	number := 0
	if strings.HasPrefix(text, second) {
		number = 1
	}
	cmd := exec.CommandContext(s.t.Context(), "bash", "-euo", "pipefail", "-c", s.computers[number].forward.Replace(text))
	cmd.Dir = filepath.Join(s.dir, "ann")
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(s.dir, "bin")+":"+os.Getenv("PATH"), "HOME="+filepath.Join(s.dir, "home"), "XDG_CONFIG_HOME=", fmt.Sprint("COMPUTER=", number))
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
			r.answer <- s.do(r.computer, r.args)
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
			words := strings.Fields(line)
			if err == nil {
				r := request{s.computers[words[0][0]-'0'], words[1:], make(chan error, 1)}
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
