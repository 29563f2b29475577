package main

import (
	"context"
	"sync"
	"time"

	"github.com/tinkerbell/tinkerbell/pkg/proto"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
)

// server is Tinkerbell's workflow service. What it answers with which status code, and when, is as in
// Tinkerbell v0.23, which waits for an action itself before it says that there is none.
type server struct {
	proto.UnimplementedWorkflowServiceServer
	runner *runner
	events *eventLog
	hold   time.Duration

	mu          sync.Mutex
	connections map[string]bool // addresses of agents that have been announced
}

func (s *server) GetAction(ctx context.Context, r *proto.ActionRequest) (*proto.ActionResponse, error) {
	if err := s.connected(ctx, r); err != nil {
		return nil, err
	}
	if r.GetAgentId() == "" {
		return nil, status.Error(codes.InvalidArgument, "invalid Agent ID")
	}
	deadline := time.NewTimer(s.hold)
	defer deadline.Stop()
	for {
		var action *Action
		var changed <-chan struct{}
		if r.GetAgentId() == s.runner.workflow.Agent {
			var err error
			if action, changed, err = s.runner.next(); err != nil {
				return nil, status.Errorf(codes.Internal, "error writing current state: %v", err)
			}
		}
		if action != nil {
			s.events.write(Event{Event: eventAction, Agent: r.GetAgentId(), Action: action.ID, Name: action.Name})
			return s.response(*action), nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		case <-deadline.C:
			if changed == nil {
				return nil, status.Error(codes.NotFound, "no Workflows found")
			}
			return nil, status.Error(codes.FailedPrecondition, "no action is available")
		}
	}
}

func (s *server) response(a Action) *proto.ActionResponse {
	task := "task"
	return &proto.ActionResponse{
		WorkflowId:  &s.runner.workflow.ID,
		TaskId:      &task,
		AgentId:     &s.runner.workflow.Agent,
		ActionId:    &a.ID,
		Name:        &a.Name,
		Image:       &a.Image,
		Timeout:     &a.Timeout,
		Command:     a.Command,
		Volumes:     a.Volumes,
		Environment: a.Environment,
		Pid:         &a.PID,
	}
}

func (s *server) ReportActionStatus(_ context.Context, r *proto.ActionStatusRequest) (*proto.ActionStatusResponse, error) {
	switch {
	case r.GetWorkflowId() == "":
		return nil, status.Error(codes.InvalidArgument, "invalid workflow id")
	case r.GetTaskId() == "":
		return nil, status.Error(codes.InvalidArgument, "invalid task name")
	case r.GetActionId() == "":
		return nil, status.Error(codes.InvalidArgument, "invalid action name")
	case r.GetWorkflowId() != s.runner.workflow.ID || r.GetAgentId() != s.runner.workflow.Agent:
		return nil, status.Error(codes.NotFound, "action not found")
	}
	before := s.runner.ended()
	found, err := s.runner.report(r.GetActionId(), r.GetActionState().String())
	if err != nil {
		return nil, status.Errorf(codes.Internal, "error writing report status: %v", err)
	}
	if !found {
		return nil, status.Error(codes.NotFound, "action not found")
	}
	s.events.write(Event{
		Event: eventStatus, Agent: r.GetAgentId(), Action: r.GetActionId(), Name: r.GetActionName(),
		State: r.GetActionState().String(), Message: r.GetMessage().GetMessage(),
	})
	if state := s.runner.ended(); state != before {
		s.events.write(Event{Event: eventWorkflow, State: state})
	}
	return &proto.ActionStatusResponse{}, nil
}

// connected announces an agent with the first request of each connection.
func (s *server) connected(ctx context.Context, r *proto.ActionRequest) error {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	address := p.Addr.String()
	s.mu.Lock()
	known := s.connections[address]
	s.connections[address] = true
	s.mu.Unlock()
	if known {
		return nil
	}
	e := Event{Event: eventConnected, Address: address, Agent: r.GetAgentId()}
	if r.GetAgentAttributes() != nil {
		text, err := protojson.Marshal(r.GetAgentAttributes())
		if err != nil {
			return status.Errorf(codes.InvalidArgument, "the attributes: %v", err)
		}
		e.Attributes = text
	}
	s.events.write(e)
	return nil
}
