package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/logline"
	"github.com/ember-os/ember/os/netstate"
	"github.com/ember-os/ember/os/stage"
)

// steady is how long an agent runs that is not to blame for its end.
const steady = time.Minute

const dockerSocket = "/var/run/docker.sock"

type launcher struct {
	config  cmdline.Config
	image   string
	fetch   string   // the program ember-fetch
	dir     string   // for the agent's program
	output  *os.File // of the agent
	log     *slog.Logger
	network func() (netstate.State, error)
	notify  func(state string) error // sd_notify(3)
	sleep   func(context.Context, time.Duration)

	told logline.Teller
}

// run ends when ctx does, after the agent.
func (l *launcher) run(ctx context.Context) {
	var p program
	var pauses pauses
	for ctx.Err() == nil {
		var err error
		if p.Digest == "" {
			p = l.fetchUntilThere(ctx)
			continue
		}
		started := time.Now()
		if p, err = l.runAgent(ctx, p); ctx.Err() != nil {
			return
		}
		ran := time.Since(started)
		if ran >= steady {
			pauses.reset()
			l.told.Reset()
		}
		l.fail(ctx, &pauses, err, "ran", ran.Round(time.Second))
		if p.Digest != "" && ran < steady && mutable(l.image) {
			p = l.newer(ctx, p)
		}
	}
}

// fail tells an error and sleeps before another try.
func (l *launcher) fail(ctx context.Context, p *pauses, err error, fields ...any) {
	if ctx.Err() != nil {
		return
	}
	l.told.Tell(l.log, slog.LevelError, err.Error(), fields...)
	l.status("STATUS=" + err.Error())
	l.sleep(ctx, p.next())
}

func (l *launcher) fetchUntilThere(ctx context.Context) program {
	var pauses pauses
	for ctx.Err() == nil {
		l.status("STATUS=fetching " + l.image)
		p, err := l.fetchOnce(ctx, program{})
		if err == nil {
			return p
		}
		l.fail(ctx, &pauses, err)
	}
	return program{}
}

// newer is the program of the image as it is now, if that can be had soon, else p.
func (l *launcher) newer(ctx context.Context, p program) program {
	looking, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	now, err := l.fetchOnce(looking, p)
	switch {
	case err != nil:
		l.told.Tell(l.log, slog.LevelWarn, "the kept program of the agent is used: "+err.Error())
		return p
	case now != p:
		l.log.Info("there is a newer image of the agent", "digest", now.Digest)
	}
	return now
}

// runAgent gives back p unless it cannot be started, and how it ended.
func (l *launcher) runAgent(ctx context.Context, p program) (program, error) {
	id, instead, err := identity(l.config, l.network)
	if err != nil {
		return p, err
	}
	cmd := exec.CommandContext(ctx, l.file())
	stop(cmd)
	if isWorker(p.Path) {
		cmd.Env = workerEnvironment(inherited(), l.config.Tinkerbell, id)
		l.checkDocker()
	} else {
		cmd.Args = append([]string{"tink-agent"}, arguments(l.config.Tinkerbell, id)...)
		cmd.Env = environment(inherited(), l.config.Tinkerbell, id)
	}
	cmd.Stdout, cmd.Stderr = l.output, l.output
	if err := cmd.Start(); err != nil {
		return program{}, cannotStart(l.image, err)
	}
	if instead != "" {
		l.told.Tell(l.log, slog.LevelWarn, "worker_id is not given: the agent is called by "+instead, "id", id)
	}
	fields := []stage.Field{{Key: "image", Value: l.image}, {Key: "digest", Value: p.Digest}, {Key: "pid", Value: strconv.Itoa(cmd.Process.Pid)}}
	l.log.Info("the agent was started", "image", l.image, "digest", p.Digest, "id", id, "pid", cmd.Process.Pid)
	l.status("READY=1\nSTATUS=" + stage.FormatFields(fields...))
	cmd.Wait() // how it ended is in ProcessState
	return p, fmt.Errorf("the agent ended with %v and is started again", cmd.ProcessState)
}

// status tells init. What it does not hear is in the log as well.
func (l *launcher) status(state string) {
	if err := l.notify(state); err != nil {
		l.log.Warn("telling init of the agent", "err", err)
	}
}

func (l *launcher) checkDocker() {
	if _, err := os.Stat(dockerSocket); errors.Is(err, fs.ErrNotExist) && os.Getenv("DOCKER_HOST") == "" {
		l.told.Tell(l.log, slog.LevelWarn, l.image+" is tink-worker, which has its actions run by Docker, and there is no "+dockerSocket+
			": name an image of tink-agent, which uses containerd")
	}
}

// cannotStart explains an error of execve(2).
func cannotStart(image string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the agent of %s needs a dynamic loader that this system does not have: name an image whose agent is linked statically", image)
	case errors.Is(err, syscall.ENOEXEC):
		return fmt.Errorf("the agent of %s is not a program for this machine: name the agent's image", image)
	}
	return fmt.Errorf("starting the agent of %s: %w", image, err)
}
