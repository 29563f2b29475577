package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/ember-os/ember/os/logline"
)

const (
	stopTime  = 10 * time.Second // for a child to end after SIGTERM
	lineLimit = 4096             // bytes of a line from a child; the rest is dropped
	lookTime  = 20 * time.Second // to ask for a newer image before the kept program is started
)

// program is the agent's, as it was fetched.
type program struct {
	Digest string // of the image
	Path   string // in the image
}

// fetchOnce fetches the agent's program to file. If the image still has the digest of
// have, that is the answer. The error is a sentence.
func (l *launcher) fetchOnce(ctx context.Context, have program) (program, error) {
	args := []string{"--out", l.file()}
	if have.Digest != "" {
		args = append(args, "--have", have.Digest)
	}
	cmd := exec.CommandContext(ctx, l.fetch, append(append(args, l.image), paths...)...)
	stop(cmd)
	cmd.Env = inherited()
	var stdout bytes.Buffer
	var reason string
	cmd.Stdout = &stdout
	cmd.Stderr = &lines{f: func(text string) {
		line := logline.Parse(text)
		if line.Severity <= logline.Error {
			reason = line.Text
			return
		}
		l.log.Log(ctx, line.Severity.Level(), line.Text)
	}}
	err := cmd.Run()
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return program{}, fmt.Errorf("the registry of %s does not answer in time", l.image)
	case err != nil && reason != "":
		return program{}, errors.New(reason)
	case err != nil:
		return program{}, fmt.Errorf("running %s to fetch %s: %w", filepath.Base(l.fetch), l.image, err)
	}
	var p program
	if err := json.Unmarshal(stdout.Bytes(), &p); err != nil || p.Digest == "" {
		return program{}, fmt.Errorf("%s gives no result that makes sense: %.100q", filepath.Base(l.fetch), stdout.String())
	}
	if p.Digest == have.Digest {
		return have, nil
	}
	return p, nil
}

// file is where the agent's program is.
func (l *launcher) file() string { return filepath.Join(l.dir, "tink-agent") }

// stop has the end of the command's context end it gently first.
func stop(cmd *exec.Cmd) {
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopTime
}

// lines gives what is written to it to f, line by line.
type lines struct {
	f    func(string)
	part []byte
}

func (l *lines) Write(p []byte) (int, error) {
	for line := range bytes.Lines(p) {
		text, whole := bytes.CutSuffix(line, []byte("\n"))
		l.part = append(l.part, text[:min(len(text), lineLimit-len(l.part))]...)
		if whole {
			l.f(string(l.part))
			l.part = l.part[:0]
		}
	}
	return len(p), nil
}
