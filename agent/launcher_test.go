package agent

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

const okay = "ok sha256:1 /tink-agent"

func TestStarts(t *testing.T) {
	tr := newTrial(t, parameters, []string{okay}, []string{"waits"})
	tr.start()
	tr.runs()
	tr.end()
	fetches, agents := tr.calls(fetchProgram), tr.calls("tink-agent")
	wantFetch := []record{{
		Args: []string{"--out", tr.l.file(), "r.example.com/agent:1", "/tink-agent", "/usr/bin/tink-agent", "/usr/local/bin/tink-agent", "/usr/bin/tink-worker"},
		Env:  []string{"HTTPS_PROXY=http://proxy.example.com:3128"},
	}}
	wantAgent := []record{{
		Args: []string{
			"-runtime", "containerd", "-containerd-socket", "/run/containerd/containerd.sock", "-transport", "grpc",
			"-grpc-server", "192.0.2.1:42113", "-grpc-tls=true", "-grpc-insecure-tls=false", "-id", "52:54:00:12:34:56",
			"-registry-name", "r.example.com", "-registry-user", "u", "-registry-pass", "SECRET",
		},
		Env: []string{
			"HTTPS_PROXY=http://proxy.example.com:3128", "TINKERBELL_GRPC_AUTHORITY=192.0.2.1:42113", "WORKER_ID=52:54:00:12:34:56",
			"TINKERBELL_TLS=true", "TINKERBELL_INSECURE_TLS=false", "DOCKER_REGISTRY=r.example.com",
			"REGISTRY_USERNAME=u", "REGISTRY_PASSWORD=SECRET",
		},
	}}
	if !reflect.DeepEqual(fetches, wantFetch) {
		t.Errorf("fetched with %q", fetches)
	}
	if !reflect.DeepEqual(agents, wantAgent) {
		t.Errorf("started with %q", agents)
	}
	if text, err := os.ReadFile(tr.out); string(text) != "here is the agent: waits\nthe agent stops\n" {
		t.Errorf("the agent's output is %q, %v", text, err)
	}
	if tr.states[0] != "STATUS=fetching r.example.com/agent:1" || len(tr.states) != 2 {
		t.Errorf("init is told %q", tr.states)
	}
	if log := tr.log.String(); !strings.HasPrefix(log, "<6>pulling, call 1\n<6>the agent was started image=r.example.com/agent:1 digest=sha256:1 ") ||
		strings.Contains(log, "SECRET") || strings.Contains(log, "<3>") {
		t.Errorf("logged\n%s", log)
	}
}

func TestWorker(t *testing.T) {
	if _, err := os.Stat(dockerSocket); err == nil {
		t.Skip("this machine has Docker")
	}
	t.Setenv("DOCKER_HOST", "")
	tr := newTrial(t, parameters, []string{"ok sha256:1 /usr/bin/tink-worker"}, []string{"waits"})
	tr.start()
	tr.runs()
	tr.end()
	if c := tr.calls("tink-agent")[0]; len(c.Args) != 0 || !slices.Contains(c.Env, "ID=52:54:00:12:34:56") || !slices.Contains(c.Env, "TINKERBELL_TLS=true") {
		t.Errorf("started with %q", c)
	}
	if log := tr.log.String(); !strings.Contains(log, "<4>r.example.com/agent:1 is tink-worker, which has its actions run by Docker, and there is no ") {
		t.Errorf("logged\n%s", log)
	}
}

var duration = regexp.MustCompile(`ran=\S+`)

func untimed(log string) string { return duration.ReplaceAllString(log, "ran=T") }

// errorsOf is the lines of the log that are errors or warnings.
func errorsOf(log string) string {
	var lines []string
	for line := range strings.Lines(untimed(log)) {
		if line[1] < '6' {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

func TestFetchFails(t *testing.T) {
	refused, gone := "fails r.example.com refuses to give us the image (401 Unauthorized)", "fails there is no host r.example.com"
	tr := newTrial(t, parameters, []string{
		refused, refused, refused, refused, refused, gone, "crashes", "says hello", `says {"digest": ""}`, okay,
	}, []string{"waits"})
	tr.start()
	tr.runs()
	tr.end()
	want := `<3>r.example.com refuses to give us the image (401 Unauthorized)
<3>r.example.com refuses to give us the image (401 Unauthorized) times=2
<3>r.example.com refuses to give us the image (401 Unauthorized) times=4
<3>there is no host r.example.com
<3>running ember-fetch to fetch r.example.com/agent:1: exit status 2
<3>ember-fetch gives no result that makes sense: "hello\n"
<3>ember-fetch gives no result that makes sense: "{\"digest\": \"\"}\n"
`
	if got := errorsOf(tr.log.String()); got != want {
		t.Errorf("logged\n%swant\n%s", got, want)
	}
	if len(tr.pauses) != 9 || len(tr.calls(fetchProgram)) != 10 || !strings.Contains(tr.log.String(), "<6>panic: x\n") {
		t.Errorf("pauses %v\n%s", tr.pauses, &tr.log)
	}
	if !slices.Contains(tr.states, "STATUS=there is no host r.example.com") {
		t.Errorf("init is told %q", tr.states)
	}
}

func TestNoFetchProgram(t *testing.T) {
	tr := newTrial(t, parameters, []string{okay}, []string{"waits"})
	tr.l.fetch, tr.enough = filepath.Join(t.TempDir(), fetchProgram), 3
	tr.start()
	<-tr.done
	want := "<3>running ember-fetch to fetch r.example.com/agent:1: fork/exec " + tr.l.fetch + ": no such file or directory"
	if got := errorsOf(tr.log.String()); got != want+"\n"+want+" times=2\n" {
		t.Errorf("logged\n%s", got)
	}
}

func TestKilled(t *testing.T) {
	digest := "sha256:1"
	tr := newTrial(t, parameters, []string{okay, "same " + digest, "fails the registry is gone"}, []string{"waits"})
	tr.start()
	for range 4 {
		must(t, syscall.Kill(tr.runs(), syscall.SIGKILL))
	}
	tr.runs()
	tr.end()
	for i, c := range tr.calls(fetchProgram) {
		if has := slices.Contains(c.Args, "--have"); has != (i > 0) || has && c.Args[3] != digest {
			t.Errorf("call %d: %q", i, c.Args)
		}
	}
	want := []string{
		"<3>the agent ended with signal: killed and is started again ran=T",
		"<3>the agent ended with signal: killed and is started again ran=T times=2",
		"<4>the kept program of the agent is used: the registry is gone",
		"<4>the kept program of the agent is used: the registry is gone times=2",
		"<3>the agent ended with signal: killed and is started again ran=T times=4",
	}
	for _, w := range want {
		if !strings.Contains(untimed(tr.log.String()), w+"\n") {
			t.Errorf("logged\n%swithout\n%s", &tr.log, w)
		}
	}
}

func TestExits(t *testing.T) {
	tr := newTrial(t, parameters, []string{okay, "ok sha256:2 /tink-agent", "same sha256:2"}, []string{"3", "0", "waits"})
	tr.start()
	var digests []string
	for range 3 {
		line := <-tr.ready
		digests = append(digests, line.Get("digest"))
	}
	tr.end()
	if !slices.Equal(digests, []string{"sha256:1", "sha256:2", "sha256:2"}) {
		t.Errorf("ran %q", digests)
	}
	log := tr.log.String()
	for _, want := range []string{"exit status 3 and", "exit status 0 and", "<6>there is a newer image of the agent digest=sha256:2\n"} {
		if !strings.Contains(log, want) {
			t.Errorf("logged\n%swithout %q", log, want)
		}
	}
}

func TestPinned(t *testing.T) {
	line := strings.Replace(parameters, "agent:1", "agent@sha256:"+strings.Repeat("0", 64), 1)
	tr := newTrial(t, line, []string{okay}, []string{"1"})
	tr.enough = 3
	tr.start()
	<-tr.done
	if n, m := len(tr.calls(fetchProgram)), len(tr.calls("tink-agent")); n != 1 || m != 3 {
		t.Errorf("fetched %d times for %d starts", n, m)
	}
}

func TestUnstartable(t *testing.T) {
	tr := newTrial(t, parameters, []string{"unstartable", okay}, []string{"waits"})
	tr.start()
	tr.runs()
	tr.end()
	want := "<3>the agent of r.example.com/agent:1 is not a program for this machine: name the agent's image ran=T\n"
	if got := errorsOf(tr.log.String()); got != want {
		t.Errorf("logged\n%swant\n%s", got, want)
	}
	for _, c := range tr.calls(fetchProgram) {
		if slices.Contains(c.Args, "--have") {
			t.Errorf("what cannot be started counts as had: %q", c.Args)
		}
	}
}

func TestCannotStart(t *testing.T) {
	for err, want := range map[error]string{
		&os.PathError{Op: "fork/exec", Err: syscall.ENOENT}: "the agent of x needs a dynamic loader",
		&os.PathError{Op: "fork/exec", Err: syscall.EACCES}: "starting the agent of x: fork/exec",
	} {
		if got := cannotStart("x", err).Error(); !strings.HasPrefix(got, want) {
			t.Errorf("%v: %q", err, got)
		}
	}
}

func TestNotify(t *testing.T) {
	tr := newTrial(t, parameters, []string{okay}, []string{"1"})
	tr.enough = 1
	tr.l.notify = func(string) error { return errors.New("nobody listens") }
	tr.start()
	<-tr.done
	if !strings.Contains(tr.log.String(), "nobody listens") {
		t.Errorf("logged\n%s", &tr.log)
	}
	if _, err := os.Stat(filepath.Join(tr.dir, "tink-agent.calls")); err != nil {
		t.Error("no agent without init:", err)
	}
}
