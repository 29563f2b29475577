package executor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ember-os/ember/os/unit"
)

// The test binary is also the executor, and the program that it starts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "exec":
			os.Exit(Main(os.Args[2:]))
		case "probe":
			probe()
			return
		}
	}
	os.Exit(m.Run())
}

// state is what a program finds itself in.
type state struct {
	PID, Umask int
	Leader     bool
	Args, Env  []string
	Dir        string
	Files      []string // beyond standard error
	Limits     [4]unix.Rlimit
	OOMScore   string
	Signals    []string
}

var resources = [4]int{unix.RLIMIT_NOFILE, unix.RLIMIT_NPROC, unix.RLIMIT_CORE, unix.RLIMIT_MEMLOCK}

func probe() {
	s := state{PID: os.Getpid(), Umask: syscall.Umask(0), Args: os.Args, Env: os.Environ()}
	sid, _ := unix.Getsid(0)
	s.Leader = sid == s.PID
	s.Dir, _ = os.Getwd()
	fds, _ := os.ReadDir("/proc/self/fd")
	for _, fd := range fds {
		to, err := os.Readlink("/proc/self/fd/" + fd.Name())
		if n, _ := strconv.Atoi(fd.Name()); n > 2 && err == nil {
			s.Files = append(s.Files, to)
		}
	}
	for i, r := range resources {
		unix.Getrlimit(r, &s.Limits[i])
	}
	score, _ := os.ReadFile("/proc/self/oom_score_adj")
	s.OOMScore = strings.TrimSpace(string(score))
	status, _ := os.ReadFile("/proc/thread-self/status")
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "SigBlk:") || strings.HasPrefix(line, "SigIgn:") {
			s.Signals = append(s.Signals, strings.TrimSpace(line))
		}
	}
	json.NewEncoder(os.Stdout).Encode(s)
}

// start runs the executor with a document and returns what comes out.
func start(t *testing.T, document []byte, change func(*exec.Cmd)) (cmd *exec.Cmd, stdout, stderr string, err error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	go func() {
		w.Write(document)
		w.Close()
	}()
	var out, errs bytes.Buffer
	cmd = exec.CommandContext(t.Context(), self, "exec")
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = &out, &errs, []*os.File{r}
	if change != nil {
		change(cmd)
	}
	err = cmd.Run()
	return cmd, out.String(), errs.String(), err
}

func marshal(t *testing.T, s Spec) []byte {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// own is a limit that everybody may set, with a soft one below the hard one.
func own(t *testing.T, resource int) *unit.Limit {
	t.Helper()
	var l unix.Rlimit
	if err := unix.Getrlimit(resource, &l); err != nil {
		t.Fatal(err)
	}
	return &unit.Limit{Soft: l.Max / 2, Hard: l.Max}
}

func TestProgram(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "file.env")
	if err := os.WriteFile(file, []byte("WORDS=\"one 'two three'\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	leak, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer leak.Close()

	text, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		t.Fatal(err)
	}
	score, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	score = min(score+7, 1000)
	spec := Spec{
		Unit: "a.service",
		Command: unit.Command{
			Path: filepath.Base(self), // in PATH
			Args: []string{"itself", "probe", "$WORDS", "x${A}", "$GONE"},
		},
		Environ: []string{"PATH=/usr/bin:" + filepath.Dir(self), "A=base"},
		Service: unit.Service{
			Environment:      []string{"A=1"},
			EnvironmentFiles: []unit.EnvironmentFile{{Path: file}},
			WorkingDirectory: dir,
			LimitNOFILE:      &unit.Limit{Soft: 64, Hard: 64},
			LimitNPROC:       own(t, unix.RLIMIT_NPROC),
			LimitCORE:        &unit.Limit{Soft: 0, Hard: 0},
			LimitMEMLOCK:     own(t, unix.RLIMIT_MEMLOCK),
			OOMScoreAdjust:   &score,
		},
	}

	// What must not be inherited.
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT) // Go would undo others
	defer signal.Reset(syscall.SIGHUP, syscall.SIGINT)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var old unix.Sigset_t
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &unix.Sigset_t{Val: [16]uint64{1 << (unix.SIGUSR2 - 1)}}, &old); err != nil {
		t.Fatal(err)
	}
	defer unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
	defer syscall.Umask(syscall.Umask(0o077))

	cmd, stdout, stderr, err := start(t, marshal(t, spec), func(cmd *exec.Cmd) { cmd.ExtraFiles = append(cmd.ExtraFiles, leak) })
	if err != nil || stderr != "" {
		t.Fatalf("%v: %s", err, stderr)
	}
	var got state
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
	// Go's runtime has files of its own.
	got.Files = slices.DeleteFunc(got.Files, func(to string) bool { return to != file && !strings.HasPrefix(to, "pipe:") })
	rlimit := func(l *unit.Limit) unix.Rlimit { return unix.Rlimit{Cur: l.Soft, Max: l.Hard} }
	want := state{
		PID: cmd.Process.Pid, Umask: 0o022, Leader: true,
		Args:     []string{"itself", "probe", "one", "two three", "x1"},
		Env:      []string{spec.Environ[0], "A=1", "WORDS=one 'two three'"},
		Dir:      dir,
		Files:    got.Files[:0],
		OOMScore: fmt.Sprint(score),
		Signals:  []string{"SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000"},
		Limits: [4]unix.Rlimit{
			{Cur: 64, Max: 64}, rlimit(spec.Service.LimitNPROC), {}, rlimit(spec.Service.LimitMEMLOCK),
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestDefaults wants what is not set to stay as it is.
func TestDefaults(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	spec := Spec{
		Command: unit.Command{Path: self, Args: []string{self, "probe", "$A", "${A}"}, Literal: true},
		Environ: []string{"A=1"},
		Service: unit.Service{WorkingDirectory: t.TempDir() + "/gone", DirectoryOptional: true},
	}
	_, stdout, stderr, err := start(t, marshal(t, spec), func(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} })
	if err != nil || stderr != "" {
		t.Fatalf("%v: %s", err, stderr)
	}
	var got state
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatal(err)
	}
	var limits [4]unix.Rlimit
	for i, r := range resources {
		unix.Getrlimit(r, &limits[i])
	}
	if got.Dir != "/" || !got.Leader || got.Limits != limits || !slices.Equal(got.Args[2:], []string{"$A", "${A}"}) || !slices.Equal(got.Env, spec.Environ) {
		t.Errorf("%+v", got)
	}
}

func TestFailures(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte("no program"), 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tooMuch := 5000
	for name, c := range map[string]struct {
		status  int
		message string
		spec    func(*Spec)
		change  func(*exec.Cmd)
	}{
		"directory": {status: exitChdir, message: "changing to the working directory: chdir DIR/gone: no such file or directory",
			spec: func(s *Spec) { s.Service.WorkingDirectory = dir + "/gone" }},
		"no program": {status: exitExec, message: "starting DIR/gone: no such file or directory",
			spec: func(s *Spec) { s.Command.Path = dir + "/gone" }},
		"not in PATH": {status: exitExec, message: `there is no program "gone" in DIR`,
			spec: func(s *Spec) { s.Command.Path, s.Environ = "gone", []string{"PATH=" + dir} }},
		"not executable": {status: exitExec, message: "starting DIR/script: exec format error",
			spec: func(s *Spec) { s.Command.Path = script }},
		"limit": {status: exitLimits, message: "setting LimitCORE=2:1: invalid argument",
			spec: func(s *Spec) { s.Service.LimitCORE = &unit.Limit{Soft: 2, Hard: 1} }},
		"OOM score": {status: exitOOM, message: "setting OOMScoreAdjust=5000: write /proc/self/oom_score_adj: invalid argument",
			spec: func(s *Spec) { s.Service.OOMScoreAdjust = &tooMuch }},
		"environment file": {status: exitConfig, message: "EnvironmentFile=DIR/gone: open DIR/gone: no such file or directory",
			spec: func(s *Spec) { s.Service.EnvironmentFiles = []unit.EnvironmentFile{{Path: dir + "/gone"}} }},
		"environment pattern": {status: exitConfig, message: "EnvironmentFile=DIR/*.env: file does not exist",
			spec: func(s *Spec) { s.Service.EnvironmentFiles = []unit.EnvironmentFile{{Path: dir + "/*.env"}} }},
		"session": {status: exitSetsid, message: "making a session: operation not permitted",
			change: func(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }},
	} {
		t.Run(name, func(t *testing.T) {
			spec := Spec{Unit: "a.service", Command: unit.Command{Path: self, Args: []string{self, "probe"}}}
			if c.spec != nil {
				c.spec(&spec)
			}
			_, stdout, stderr, err := start(t, marshal(t, spec), c.change)
			want := "<3>a.service: " + strings.ReplaceAll(c.message, "DIR", dir) + "\n"
			if status := exitStatus(err); status != c.status || stderr != want || stdout != "" {
				t.Errorf("status %d, %q, %q", status, stdout, stderr)
			}
		})
	}
}

func exitStatus(err error) int {
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return e.ExitCode()
	}
	return 0
}

func TestBadSpecs(t *testing.T) {
	for text, want := range map[string]string{
		"":                                 "reading what to start: EOF",
		"{":                                "reading what to start: unexpected EOF",
		"{}":                               "there is nothing to start",
		`{"Strange":1}`:                    `reading what to start: json: unknown field "Strange"`,
		`{"Command":{"Path":"/bin/true"}}`: "there is nothing to start",
	} {
		_, _, stderr, err := start(t, []byte(text), nil)
		if status := exitStatus(err); status != exitFailure || stderr != "<3>ember exec: "+want+"\n" {
			t.Errorf("%q: status %d, %q", text, status, stderr)
		}
	}
	_, _, stderr, err := start(t, nil, func(cmd *exec.Cmd) { cmd.ExtraFiles = nil })
	if exitStatus(err) != exitFailure || !strings.HasPrefix(stderr, "<3>ember exec: reading what to start: ") {
		t.Errorf("without a document: %v, %q", err, stderr)
	}
	_, _, stderr, err = start(t, nil, func(cmd *exec.Cmd) { cmd.Args = append(cmd.Args, "word") })
	if exitStatus(err) != exitFailure || stderr != "<3>ember exec: unexpected argument \"word\": only PID 1 starts this\n" {
		t.Errorf("with an argument: %v, %q", err, stderr)
	}
}

// BenchmarkStart is the time from the start of the executor to the end of a
// program that does nothing.
func BenchmarkStart(b *testing.B) {
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	spec, err := json.Marshal(Spec{Command: unit.Command{Path: "/bin/true", Args: []string{"true"}}})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		r, w, err := os.Pipe()
		if err != nil {
			b.Fatal(err)
		}
		w.Write(spec)
		w.Close()
		cmd := exec.Command(self, "exec")
		cmd.ExtraFiles = []*os.File{r}
		if err := cmd.Run(); err != nil {
			b.Fatal(err)
		}
		r.Close()
	}
}
