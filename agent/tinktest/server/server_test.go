package main

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tinkerbell/tinkerbell/pkg/proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	agent    = "52:54:00:00:00:01"
	document = `{"id": "default/w", "agent": "52:54:00:00:00:01", "timeout": 3600, "actions": [
	{"id": "1", "name": "first", "image": "a", "timeout": 9, "command": ["x", "y"], "environment": ["A=b"], "pid": "host"},
	{"id": "2", "name": "second", "image": "b", "timeout": 9}]}`
)

// running is a server, and a client of it.
type running struct {
	t      *testing.T
	events chan Event
	conn   *grpc.ClientConn
	client proto.WorkflowServiceClient
	stop   func()
}

func start(t *testing.T, text, state string, hold time.Duration) *running {
	t.Helper()
	name := filepath.Join(t.TempDir(), "workflow.json")
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	r := &running{t: t, events: make(chan Event, 100)}
	go func() {
		for d := json.NewDecoder(out); ; {
			var e Event
			if d.Decode(&e) != nil {
				return
			}
			r.events <- e
		}
	}()
	done := make(chan struct{})
	go func() {
		defer close(done)
		o := options{listen: "127.0.0.1:0", listenFD: -1, workflow: name, state: state, hold: hold}
		if err := run(ctx, o, in); err != nil {
			t.Error(err)
		}
	}()
	var err error
	if r.conn, err = grpc.NewClient(r.event(eventListening).Address, grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		t.Fatal(err)
	}
	r.client = proto.NewWorkflowServiceClient(r.conn)
	r.stop = func() {
		r.conn.Close()
		cancel()
		<-done
		out.Close()
	}
	t.Cleanup(r.stop)
	return r
}

// event gives the next event, which has to be of this kind.
func (r *running) event(kind string) Event {
	r.t.Helper()
	select {
	case e := <-r.events:
		if e.Event != kind {
			r.t.Fatalf("the event is %+v, not %s", e, kind)
		}
		return e
	case <-time.After(time.Minute):
		r.t.Fatalf("the event %s does not come", kind)
		return Event{}
	}
}

func (r *running) get(agent string) (*proto.ActionResponse, error) {
	return r.client.GetAction(r.t.Context(), &proto.ActionRequest{AgentId: &agent})
}

// action gets an action, which has to have this name.
func (r *running) action(name string) *proto.ActionResponse {
	r.t.Helper()
	a, err := r.get(agent)
	if err != nil {
		r.t.Fatal(err)
	}
	if e := r.event(eventAction); a.GetName() != name || e.Name != name {
		r.t.Fatalf("the action is %v, and the event %+v, not %s", a, e, name)
	}
	return a
}

func (r *running) report(a *proto.ActionResponse, state proto.ActionStatusRequest_StateType) {
	r.t.Helper()
	if _, err := r.client.ReportActionStatus(r.t.Context(), &proto.ActionStatusRequest{
		WorkflowId: a.WorkflowId, AgentId: a.AgentId, TaskId: a.TaskId, ActionId: a.ActionId, ActionState: &state,
	}); err != nil {
		r.t.Fatal(err)
	}
	if e := r.event(eventStatus); e.State != state.String() || e.Action != a.GetActionId() {
		r.t.Fatalf("the event is %+v", e)
	}
}

func TestWorkflow(t *testing.T) {
	r := start(t, document, "", time.Minute)
	got, err := r.get(agent)
	if err != nil {
		t.Fatal(err)
	}
	if got.GetPid() != "host" || got.GetTimeout() != 9 || len(got.GetCommand()) != 2 || got.GetEnvironment()[0] != "A=b" {
		t.Errorf("the first action is %v", got)
	}
	if e := r.event(eventConnected); e.Agent != agent || e.Address == "" {
		t.Errorf("the agent is announced by %+v", e)
	}
	// One that was given, but not reported to run, is given again.
	r.event(eventAction)
	first := r.action("first")
	r.report(first, proto.ActionStatusRequest_RUNNING)

	// A request for the next one waits until there is one.
	second := make(chan error, 1)
	go func() {
		_, err := r.get(agent)
		second <- err
	}()
	r.report(first, proto.ActionStatusRequest_SUCCESS)
	if err := <-second; err != nil {
		t.Fatal(err)
	}
	got.ActionId, got.Name = new("2"), new("second")
	r.event(eventAction)
	r.report(got, proto.ActionStatusRequest_RUNNING)
	r.report(got, proto.ActionStatusRequest_SUCCESS)
	if e := r.event(eventWorkflow); e.State != stateSuccess {
		t.Errorf("the workflow ended with %+v", e)
	}
}

// TestRestart has a server that goes away between two actions, and in the middle of one.
func TestRestart(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	r := start(t, document, state, time.Millisecond)
	r.connect()
	first := r.action("first")
	r.report(first, proto.ActionStatusRequest_RUNNING)
	r.report(first, proto.ActionStatusRequest_SUCCESS)
	r.stop()

	r = start(t, document, state, time.Millisecond)
	second, err := r.get(agent)
	if err != nil || second.GetName() != "second" {
		t.Fatalf("after the restart the action is %v, %v", second, err)
	}
	r.event(eventConnected)
	r.event(eventAction)
	r.report(second, proto.ActionStatusRequest_RUNNING)
	r.stop()

	r = start(t, document, state, time.Millisecond)
	if _, err := r.get(agent); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("in the middle of an action: %v", err)
	}
	r.event(eventConnected)
	r.report(second, proto.ActionStatusRequest_FAILED)
	if e := r.event(eventWorkflow); e.State != "FAILED" {
		t.Errorf("the workflow ended with %+v", e)
	}
}

func TestDeadline(t *testing.T) {
	r := start(t, `{"id": "default/w", "agent": "52:54:00:00:00:01", "timeout": 1,
		"actions": [{"id": "1", "name": "first", "image": "a", "timeout": 9}]}`, "", time.Millisecond)
	r.connect()
	r.report(r.action("first"), proto.ActionStatusRequest_RUNNING)
	if e := r.event(eventWorkflow); e.State != stateTimeout {
		t.Errorf("the workflow ended with %+v", e)
	}
}

// connect makes the connection known with a request without an ID.
func (r *running) connect() {
	r.t.Helper()
	if _, err := r.get(""); status.Code(err) != codes.InvalidArgument {
		r.t.Fatalf("without an ID: %v", err)
	}
	r.event(eventConnected)
}

func TestStranger(t *testing.T) {
	r := start(t, document, "", time.Millisecond)
	if _, err := r.get("stranger"); status.Code(err) != codes.NotFound {
		t.Errorf("for a stranger: %v", err)
	}
	if e := r.event(eventConnected); e.Agent != "stranger" {
		t.Errorf("a stranger is announced by %+v", e)
	}
}

func TestForeign(t *testing.T) {
	r := start(t, document, "", time.Millisecond)
	const method = "/proto.WorkflowService/GetWorkflowContexts"
	err := r.conn.Invoke(t.Context(), method, wrapperspb.String("worker"), &emptypb.Empty{})
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("a call of another protocol: %v", err)
	}
	if e := r.event(eventForeign); e.Agent != "worker" || e.Method != method {
		t.Errorf("it is announced by %+v", e)
	}
}

func TestCheck(t *testing.T) {
	for text, ok := range map[string]bool{
		document:                true,
		`{}`:                    false,
		`{"id": "w", "new": 1}`: false,
		`{"id": "w", "agent": "a", "actions": [{"id": "1", "image": "i"}]}`:                                                        false,
		`{"id": "w", "agent": "a", "actions": [{"id": "1", "image": "i", "timeout": 1}, {"id": "1", "image": "i", "timeout": 1}]}`: false,
	} {
		name := filepath.Join(t.TempDir(), "workflow.json")
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := readWorkflow(name); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
}
