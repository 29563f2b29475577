package health

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// maxOutput is how much is kept of what a command prints, in bytes: the end of it.
const maxOutput = 4 << 10

// closing is how long the output of a command may be held open by what it left behind.
const closing = 500 * time.Millisecond

// commands runs all health commands at once.
func (l *looker) commands(ctx context.Context) []Check {
	entries, err := os.ReadDir(l.paths.commands)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return []Check{unhealthy("commands", "%v", err)}
	}
	checks := make([]Check, len(entries))
	var running sync.WaitGroup
	for i, e := range entries {
		running.Go(func() { checks[i] = l.command(ctx, e.Name()) })
	}
	running.Wait()
	return slices.DeleteFunc(checks, func(c Check) bool { return c.Name == "" })
}

// command runs the one of that name. The check is zero if there is nothing to run: for a hidden file, and for what is
// masked by a link to /dev/null.
func (l *looker) command(ctx context.Context, file string) Check {
	name, path := "command "+shown(file), filepath.Join(l.paths.commands, file)
	if strings.HasPrefix(file, ".") {
		return Check{}
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return unhealthy(name, "%v", err)
	case info.Mode()&os.ModeCharDevice != 0:
		return Check{}
	case !info.Mode().IsRegular():
		return unhealthy(name, "%s is not a program: take it away", path)
	case info.Mode()&0o111 == 0:
		return unhealthy(name, "%s is not executable: set its mode to 0755, or take it away", path)
	}
	ctx, cancel := context.WithTimeout(ctx, l.limit)
	defer cancel()
	var out tail
	cmd := exec.CommandContext(ctx, path)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "NOTIFY_SOCKET=") }) // it is ours
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = closing
	err = cmd.Run()
	c := Check{Name: name, Healthy: err == nil || errors.Is(err, exec.ErrWaitDelay), output: out.String()}
	switch {
	case ctx.Err() != nil:
		c.Healthy, c.Reason = false, "it has not ended within "+l.limit.String()
	case c.Healthy:
		c.Reason = "it has ended well"
	default:
		c.Reason = "it has ended badly: " + err.Error()
	}
	if last := c.output[strings.LastIndexByte(c.output, '\n')+1:]; last != "" {
		c.Reason += ", and says " + shown(last)
	}
	return c
}

// tail keeps the end of what is written to it.
type tail struct {
	kept bytes.Buffer
	cut  bool
}

func (t *tail) Write(p []byte) (int, error) {
	t.kept.Write(p)
	if over := t.kept.Len() - maxOutput; over > 0 {
		t.kept.Next(over)
		t.cut = true
	}
	return len(p), nil
}

// String is what was kept, from its first whole line on, without the last line end.
func (t *tail) String() string {
	text := t.kept.String()
	if _, after, ok := strings.Cut(text, "\n"); t.cut && ok {
		text = "…\n" + after
	}
	return strings.TrimRight(text, " \t\r\n")
}
