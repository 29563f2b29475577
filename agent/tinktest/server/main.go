// Tinkserver is a server that speaks Tinkerbell's own protocol, for tests.
//
// It gives one workflow, a JSON document ([Workflow]), to the agent that the
// workflow names, as Tinkerbell's server would: one action at a time, the next
// one only when the last was reported to have succeeded, and none to an agent
// that comes back in the middle of one. What happens is written to standard
// output, one JSON document ([Event]) to a line.
//
// Where the workflow is can be kept in a file, so that a server that is killed
// and started again goes on.
//
// It is a module of its own, because Tinkerbell's module is large.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/tinkerbell/tinkerbell/pkg/proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

type options struct {
	listen    string
	listenFD  int
	workflow  string
	state     string
	cert, key string
	hold      time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.listen, "listen", "127.0.0.1:0", "address to serve at")
	flag.IntVar(&o.listenFD, "listen-fd", -1, "file descriptor of a listening socket, used instead of an address")
	flag.StringVar(&o.workflow, "workflow", "-", "file with the workflow, - for standard input")
	flag.StringVar(&o.state, "state", "", "file that keeps where the workflow is; in memory if empty")
	flag.StringVar(&o.cert, "tls-cert", "", "PEM file with the certificate, for TLS")
	flag.StringVar(&o.key, "tls-key", "", "PEM file with its key")
	flag.DurationVar(&o.hold, "hold", time.Minute, "how long a request for an action waits until there is one, as Tinkerbell's server does")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "tinkserver:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends, and then ends all connections at once.
func run(ctx context.Context, o options, events io.Writer) error {
	w, err := readWorkflow(o.workflow)
	if err != nil {
		return fmt.Errorf("reading the workflow: %w", err)
	}
	listener, err := o.listener()
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	log := &eventLog{out: events}
	s := &server{events: log, hold: o.hold, connections: map[string]bool{}}
	if s.runner, err = newRunner(w, o.state, log); err != nil {
		return fmt.Errorf("reading where the workflow was: %w", err)
	}
	serverOptions := []grpc.ServerOption{grpc.UnknownServiceHandler(s.unknown)}
	if o.cert != "" {
		pair, err := tls.LoadX509KeyPair(o.cert, o.key)
		if err != nil {
			return fmt.Errorf("loading the certificate: %w", err)
		}
		serverOptions = append(serverOptions, grpc.Creds(credentials.NewServerTLSFromCert(&pair)))
	}
	g := grpc.NewServer(serverOptions...)
	proto.RegisterWorkflowServiceServer(g, s)
	context.AfterFunc(ctx, g.Stop)
	go s.runner.watchDeadline(ctx)
	log.write(Event{Event: eventListening, Address: listener.Addr().String()})
	if err := g.Serve(listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serving: %w", err)
	}
	return nil
}

func (o options) listener() (net.Listener, error) {
	if o.listenFD < 0 {
		return net.Listen("tcp", o.listen)
	}
	f := os.NewFile(uintptr(o.listenFD), "listener")
	defer f.Close()
	return net.FileListener(f)
}

func readWorkflow(name string) (Workflow, error) {
	in := os.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return Workflow{}, err
		}
		defer f.Close()
		in = f
	}
	decoder := json.NewDecoder(in)
	decoder.DisallowUnknownFields()
	var w Workflow
	if err := decoder.Decode(&w); err != nil {
		return Workflow{}, err
	}
	return w, w.check()
}
