// Package attestdtest runs the real attestd in tests: processes of their own that end with the test, and that
// can be killed and started again.
package attestdtest

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ember-os/ember/os/vm/vmtest"
)

// Env names the program: //attest/cmd/attestd. Tests that need it are skipped where it is not set.
const Env = "ATTESTD"

// patience is how long it may take to serve.
const patience = time.Minute

// Server is one process, or none while it is killed.
type Server struct {
	// Address is where machines connect, HOST:PORT. It stays when the server is started again.
	Address string

	t       testing.TB
	program string
	folder  string
	cmd     *exec.Cmd
	done    chan struct{} // closed when it has ended
	mu      sync.Mutex
	log     strings.Builder
}

// Start starts a server whose configuration is attestd.yaml in the folder, but that listens on a free port of
// the loopback interface. It serves when Start returns.
func Start(t testing.TB, folder string) *Server {
	t.Helper()
	s := &Server{Address: "127.0.0.1:0", t: t, program: vmtest.File(t, Env), folder: folder}
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			t.Logf("what attestd in %s has said:\n%s", folder, s.Log())
		}
	})
	s.Start()
	return s
}

// Start starts the server again, and waits until it serves.
func (s *Server) Start() {
	s.t.Helper()
	s.cmd = exec.CommandContext(context.WithoutCancel(s.t.Context()), s.program,
		"serve", "--config", filepath.Join(s.folder, "attestd.yaml"), "--listen", s.Address)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := s.cmd.StderrPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		s.t.Fatalf("starting attestd: %v", err)
	}
	s.done = make(chan struct{})
	serves := make(chan string, 1)
	go func() {
		defer close(s.done)
		s.read(bufio.NewScanner(out), serves)
		s.cmd.Wait()
	}()
	select {
	case s.Address = <-serves:
	case <-s.done:
		s.t.Fatalf("attestd has ended:\n%s", s.Log())
	case <-time.After(patience):
		s.t.Fatalf("attestd does not serve after %v:\n%s", patience, s.Log())
	}
}

// read reads the log to its end.
func (s *Server) read(lines *bufio.Scanner, serves chan<- string) {
	for lines.Scan() {
		s.mu.Lock()
		s.log.WriteString(lines.Text() + "\n")
		s.mu.Unlock()
		if _, rest, found := strings.Cut(lines.Text(), "msg=serving address="); found {
			serves <- strings.Fields(rest)[0]
		}
	}
}

// Kill is SIGKILL. The server has ended when it returns.
func (s *Server) Kill() {
	s.cmd.Process.Kill()
	<-s.done
}

// Stop is SIGTERM. The server has ended, well, when it returns nil.
func (s *Server) Stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	<-s.done
	if status := s.cmd.ProcessState; !status.Success() {
		return fmt.Errorf("attestd has ended with %v", status)
	}
	return nil
}

// Running tells whether there is a process.
func (s *Server) Running() bool {
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}

// PID is of the process.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Log is what all processes of the server have said.
func (s *Server) Log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// FreePort is a port of the loopback interface that nothing listens on, for now.
func FreePort(t testing.TB) string {
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
