// Package etcdtest runs real etcd clusters in tests: processes of their own that end with the test, and that
// can be killed, stopped and started again.
//
// Members speak through unix sockets, or, where clients need TLS, by ports of the loopback interface. What is
// on their disks is not flushed to them: a process that is killed loses nothing by that.
package etcdtest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ember-os/ember/os/vm/vmtest"
)

// Env names the program etcd: //attest/store/etcd/etcdtest/server:etcd, or any other etcd from 3.5 on. Tests
// that need it are skipped where it is not set.
const Env = "ETCD"

// patience is how long a member may take to serve clients.
const patience = time.Minute

// TLS are files, in PEM: the members' certificate and key, and who signs those that clients must show.
type TLS struct{ Certificate, Key, Authority string }

// Member is one process, or none while it is killed.
type Member struct {
	t       testing.TB
	program string
	dir     string
	name    string
	listen  string // URL for clients
	args    []string

	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	mu   sync.Mutex
	log  []string
}

// Start starts a cluster of so many members, who serve when it returns. tls is nil for none.
func Start(t testing.TB, members int, tls *TLS) []*Member {
	t.Helper()
	program := vmtest.File(t, Env)
	dir, err := os.MkdirTemp("", "etcd") // a short path, because of the sockets'
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	var cluster []*Member
	var peers []string
	for i := range members {
		m := &Member{t: t, program: program, dir: dir, name: fmt.Sprint("m", i)}
		// etcd wants a port in the name of a socket, which it takes to be in the current folder.
		peer := fmt.Sprintf("unix://peer%d:1", i)
		m.args = []string{
			"--name", m.name, "--data-dir", "data-" + m.name, "--unsafe-no-fsync",
			"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
			"--advertise-client-urls", "http://" + m.name + ":1", // must be given, is asked for by nobody, and is no socket before 3.7
		}
		m.listen = "unix://" + filepath.Join(dir, "client-"+m.name)
		if tls != nil {
			m.listen = "https://127.0.0.1:0"
			m.args = append(m.args, "--client-cert-auth", "--trusted-ca-file", tls.Authority, "--cert-file", tls.Certificate, "--key-file", tls.Key)
		}
		peers = append(peers, m.name+"="+peer)
		cluster = append(cluster, m)
	}
	t.Cleanup(func() {
		for _, m := range cluster {
			m.Kill()
			if t.Failed() {
				t.Logf("the last that %s has said:\n%s", m.name, m.tail())
			}
		}
	})
	var ready []<-chan string
	for _, m := range cluster {
		m.args = append(m.args, "--initial-cluster", strings.Join(peers, ","))
		ready = append(ready, m.begin())
	}
	for i, m := range cluster {
		m.await(ready[i])
	}
	return cluster
}

// Endpoints are where clients find the members.
func Endpoints(cluster []*Member) []string {
	var all []string
	for _, m := range cluster {
		all = append(all, m.Endpoint())
	}
	return all
}

// Endpoint is where clients find the member.
func (m *Member) Endpoint() string { return m.listen }

// Start starts the member again, with what it had on its disk, and waits until it serves.
func (m *Member) Start() {
	m.t.Helper()
	m.await(m.begin())
}

// begin gives where it takes clients, once it does.
func (m *Member) begin() <-chan string {
	m.t.Helper()
	os.Remove(strings.TrimPrefix(m.listen, "unix://")) // of a process that was killed
	args := append(m.args[:len(m.args):len(m.args)], "--listen-client-urls", m.listen)
	m.cmd = exec.CommandContext(context.WithoutCancel(m.t.Context()), m.program, args...)
	m.cmd.Dir = m.dir
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := m.cmd.StderrPipe()
	if err == nil {
		err = m.cmd.Start()
	}
	if err != nil {
		m.t.Fatalf("starting etcd: %v", err)
	}
	address := make(chan string, 1)
	m.done = make(chan struct{})
	go func() {
		defer close(m.done)
		m.read(bufio.NewScanner(out), address)
		m.cmd.Wait()
	}()
	return address
}

// read reads the log to its end.
func (m *Member) read(lines *bufio.Scanner, address chan<- string) {
	for lines.Scan() {
		m.mu.Lock()
		m.log = append(m.log, lines.Text())
		m.mu.Unlock()
		var said struct{ Msg, Address string }
		if json.Unmarshal(lines.Bytes(), &said) == nil && strings.HasPrefix(said.Msg, "serving client traffic") {
			select {
			case address <- said.Address:
			default:
			}
		}
	}
}

func (m *Member) await(address <-chan string) {
	m.t.Helper()
	select {
	case at := <-address:
		scheme, _, _ := strings.Cut(m.listen, "://")
		m.listen = scheme + "://" + at // with the port, which it keeps
	case <-m.done:
		m.t.Fatalf("etcd has ended:\n%s", m.tail())
	case <-time.After(patience):
		m.t.Fatalf("etcd does not serve after %v:\n%s", patience, m.tail())
	}
}

// Kill kills the member and waits for its end.
func (m *Member) Kill() {
	if m.cmd == nil {
		return
	}
	m.Thaw()
	m.cmd.Process.Kill()
	<-m.done
	m.cmd = nil
}

// Freeze stops the process: its connections stay, and nothing is answered.
func (m *Member) Freeze() {
	m.signal(syscall.SIGSTOP)
	// Its threads stop one by one.
	for end := time.Now().Add(patience); !m.frozen(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			m.t.Errorf("etcd is not stopped after %v", patience)
			return
		}
	}
}

// frozen tells whether all threads are stopped: proc_pid_stat(5) has the state after the name, in parentheses.
func (m *Member) frozen() bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", m.cmd.Process.Pid))
	if err != nil || len(threads) == 0 {
		return false
	}
	return !slices.ContainsFunc(threads, func(path string) bool {
		b, err := os.ReadFile(path)
		return err != nil || !bytes.Contains(b, []byte(") T "))
	})
}

// Thaw has it go on.
func (m *Member) Thaw() { m.signal(syscall.SIGCONT) }

func (m *Member) signal(s os.Signal) {
	if err := m.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		m.t.Errorf("signalling etcd: %v", err)
	}
}

// tail is the end of its log.
func (m *Member) tail() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(m.log[max(0, len(m.log)-20):], "\n")
}
