package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/logline"
	"github.com/ember-os/ember/os/netstate"
	"github.com/ember-os/ember/os/stage"
)

// scripts is the directory of what the fake programs do, one line for each call, of
// which the last counts for all that follow, and of what they were called with.
const scripts = "EMBER_TEST_SCRIPTS"

func TestMain(m *testing.M) {
	if os.Getenv(scripts) == "" {
		os.Exit(m.Run())
	}
	call, line := called()
	if filepath.Base(os.Args[0]) == fetchProgram {
		fakeFetch(call, line)
	}
	fakeAgent(line)
}

// record is how a fake program was called.
type record struct{ Args, Env []string }

func called() (call int, line string) {
	name := filepath.Join(os.Getenv(scripts), filepath.Base(os.Args[0]))
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return !slices.Contains([]string{
			"HTTPS_PROXY", "NOTIFY_SOCKET", "ID", "TINKERBELL_GRPC_AUTHORITY", "WORKER_ID", "TINKERBELL_TLS",
			"TINKERBELL_INSECURE_TLS", "DOCKER_REGISTRY", "REGISTRY_USERNAME", "REGISTRY_PASSWORD",
		}, name)
	})
	earlier, _ := os.ReadFile(name + ".calls")
	text, err := json.Marshal(record{os.Args[1:], env})
	if err == nil {
		err = os.WriteFile(name+".calls", append(append(earlier, text...), '\n'), 0o644)
	}
	script, rerr := os.ReadFile(name)
	if err = errors.Join(err, rerr); err != nil {
		fmt.Println(err)
		os.Exit(99)
	}
	lines := strings.Split(strings.TrimSpace(string(script)), "\n")
	call = bytes.Count(earlier, []byte("\n"))
	return call, lines[min(call, len(lines)-1)]
}

func fakeFetch(call int, line string) {
	fmt.Fprintf(os.Stderr, "<6>pulling, call %d\n", call+1)
	word, rest, _ := strings.Cut(line, " ")
	out := os.Args[2]
	switch word {
	case "ok": // and the digest and the path
		digest, path, _ := strings.Cut(rest, " ")
		self, _ := os.Executable()
		os.Remove(out)
		if err := os.Symlink(self, out); err != nil {
			fmt.Println(err)
			os.Exit(98)
		}
		fmt.Printf(`{"digest": %q, "path": %q}`+"\n", digest, path)
	case "unstartable":
		os.Remove(out)
		os.WriteFile(out, []byte("rubbish"), 0o755)
		fmt.Println(`{"digest": "rubbish", "path": "/tink-agent"}`)
	case "same":
		fmt.Printf(`{"digest": %q}`+"\n", rest)
	case "says":
		fmt.Println(rest)
	case "fails":
		fmt.Fprint(os.Stderr, "<3>"+rest+"\n")
		os.Exit(1)
	case "crashes":
		fmt.Fprint(os.Stderr, "panic: x\n")
		os.Exit(2)
	}
	os.Exit(0)
}

func fakeAgent(line string) {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	fmt.Println("here is the agent: " + line)
	if status, err := strconv.Atoi(line); err == nil {
		os.Exit(status)
	}
	<-stop
	fmt.Println("the agent stops")
	os.Exit(0)
}

const parameters = "tink_worker_image=r.example.com/agent:1 docker_registry=r.example.com registry_username=u registry_password=SECRET " +
	"grpc_authority=192.0.2.1:42113 worker_id=52:54:00:12:34:56 tinkerbell_tls=true"

// trial is a launcher with fake programs around it.
type trial struct {
	t      *testing.T
	dir    string
	l      launcher
	out    string // what the agent printed, by path
	log    bytes.Buffer
	ready  chan stage.Line // the fields of READY=1
	states []string
	pauses []time.Duration
	stop   context.CancelFunc
	done   chan struct{}
	enough int // pauses, then the trial ends
	seen   int // agents
}

func newTrial(t *testing.T, line string, fetches, agents []string) *trial {
	tr := &trial{t: t, dir: t.TempDir(), ready: make(chan stage.Line, 100), done: make(chan struct{})}
	t.Setenv(scripts, tr.dir)
	t.Setenv("NOTIFY_SOCKET", "/nonexistent")
	t.Setenv("HTTPS_PROXY", "http://proxy.example.com:3128")
	self, err := os.Executable()
	must(t, err)
	must(t, os.Mkdir(filepath.Join(tr.dir, "bin"), 0o755))
	fetch := filepath.Join(tr.dir, "bin", fetchProgram)
	must(t, os.Symlink(self, fetch))
	must(t, os.WriteFile(filepath.Join(tr.dir, fetchProgram), []byte(strings.Join(fetches, "\n")), 0o644))
	must(t, os.WriteFile(filepath.Join(tr.dir, "tink-agent"), []byte(strings.Join(agents, "\n")), 0o644))
	tr.out = filepath.Join(tr.dir, "output")
	output, err := os.Create(tr.out)
	must(t, err)
	t.Cleanup(func() { output.Close() })
	config, errs := cmdline.Parse(line)
	must(t, errors.Join(errs...))
	tr.l = launcher{
		config: config, image: imageOf(config.Tinkerbell), fetch: fetch, dir: filepath.Join(tr.dir, "bin"), output: output,
		log:     logline.New(&tr.log, config.Log),
		network: func() (netstate.State, error) { return netstate.State{}, nil },
		notify:  tr.notified,
		sleep:   tr.slept,
	}
	return tr
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (tr *trial) notified(state string) error {
	tr.states = append(tr.states, state)
	if text, ok := strings.CutPrefix(state, "READY=1\nSTATUS="); ok {
		fields, ok := stage.ParseFields(text)
		if !ok {
			tr.t.Errorf("%q has no fields", text)
		}
		tr.ready <- stage.Line{Fields: fields}
	}
	return nil
}

func (tr *trial) slept(_ context.Context, d time.Duration) {
	tr.pauses = append(tr.pauses, d)
	if len(tr.pauses) == tr.enough {
		tr.stop()
	}
}

// start runs the launcher, end stops it.
func (tr *trial) start() {
	ctx, stop := context.WithCancel(tr.t.Context())
	tr.stop = stop
	go func() {
		defer close(tr.done)
		tr.l.run(ctx)
	}()
}

func (tr *trial) end() {
	tr.stop()
	<-tr.done
}

// runs gives the pid of the agent, once it does.
func (tr *trial) runs() int {
	tr.t.Helper()
	line := <-tr.ready
	pid, err := strconv.Atoi(line.Get("pid"))
	if err != nil || line.Get("image") != tr.l.image || line.Get("digest") == "" {
		tr.t.Errorf("init is told %+v", line)
	}
	for tr.seen++; ; time.Sleep(time.Millisecond) {
		text, err := os.ReadFile(tr.out)
		must(tr.t, err)
		if bytes.Count(text, []byte("here is the agent")) >= tr.seen {
			break
		}
	}
	return pid
}

func (tr *trial) calls(name string) (records []record) {
	tr.t.Helper()
	text, err := os.ReadFile(filepath.Join(tr.dir, name+".calls"))
	must(tr.t, err)
	for line := range bytes.Lines(text) {
		var r record
		must(tr.t, json.Unmarshal(line, &r))
		records = append(records, r)
	}
	return records
}
