package pid1

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/ember-os/ember/os/logline"
	"github.com/ember-os/ember/os/memfile"
	"github.com/ember-os/ember/os/unit"
	"golang.org/x/sys/unix"
)

const (
	self      = "/proc/self/exe"
	maxAnswer = unit.MaxJSON
	maxSaid   = 1 << 10 // bytes of what a child says of its failure
)

// ask runs one of our own programs and returns what it prints, at most maxAnswer
// bytes. The error is what it says on standard error. One that has not ended when
// ctx does is killed.
//
// Its output is files in memory, so that neither of the two ever waits for the other.
func (s *system) ask(ctx context.Context, args ...string) ([]byte, error) {
	var files [3]*os.File
	for i, name := range []string{"stdin", "stdout", "stderr"} {
		f, err := memfile.Empty(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		files[i] = f
	}
	p, err := s.reaper.Start(self, append([]string{"ember"}, args...), &syscall.ProcAttr{
		Env:   environ,
		Files: []uintptr{files[0].Fd(), files[1].Fd(), files[2].Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return nil, err
	}
	status, err := p.Wait(ctx)
	switch {
	case err != nil:
		p.Signal(syscall.SIGKILL)
		return nil, fmt.Errorf("ember %s does not end: %w", args[0], err)
	case status != 0:
		return nil, errors.New(describe(status, contents(files[2], maxSaid)))
	}
	return contents(files[1], maxAnswer), nil
}

// describe is how a child ended, in its own words if it has any.
func describe(status syscall.WaitStatus, said []byte) string {
	first, _, _ := bytes.Cut(said, []byte("\n"))
	if text := strings.TrimSpace(logline.Parse(string(first)).Text); text != "" {
		return text
	}
	if status.Signaled() {
		return "signal " + unix.SignalName(status.Signal())
	}
	return fmt.Sprintf("exit status %d", status.ExitStatus())
}

func contents(f *os.File, limit int) []byte {
	text := make([]byte, limit)
	n, _ := f.ReadAt(text, 0)
	return text[:n]
}
