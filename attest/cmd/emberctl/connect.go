package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/ember-os/ember/attest/admin"
	"github.com/ember-os/ember/attest/contexts"
)

// The environment's variables: for flags that are not given.
const (
	configVariable   = "EMBERCTL_CONFIG"
	contextVariable  = "EMBERCTL_CONTEXT"
	serverVariable   = "EMBERCTL_SERVER"
	pinVariable      = "EMBERCTL_PIN"
	caVariable       = "EMBERCTL_CA"
	operatorVariable = "EMBERCTL_OPERATOR"
)

// patience is how long a server has to answer.
const patience = 30 * time.Second

// connection is what the flags say of the server.
type connection struct {
	config, context string
	over            contexts.Context
	timeout         time.Duration
}

// add adds the flags to a command.
func (o *connection) add(c *cobra.Command) {
	o.file(c)
	f := c.Flags()
	f.StringVar(&o.context, "context", "", "the server, by its name in the configuration (default: the current one)")
	f.StringVar(&o.over.Server, "server", "", "the server: https://HOST:PORT, or unix:PATH of its socket")
	f.StringVar(&o.over.Pin, "pin", "", "pin of the server's key, as attestd certificate says it")
	f.StringVar(&o.over.CA, "ca", "", "file of authorities for the server's certificate (default: this computer's)")
	f.StringVar(&o.over.Operator, "operator", "", "file with your key, as keygen --operator makes it")
	f.DurationVar(&o.timeout, "timeout", patience, "how long the server has for an answer")
	c.RegisterFlagCompletionFunc("context", o.completeContexts)
}

// file adds the flag for the configuration alone.
func (o *connection) file(c *cobra.Command) {
	c.Flags().StringVar(&o.config, "config", "", "configuration file (default ~/.config/ember/emberctl.yaml)")
}

func (o *connection) read() (*contexts.File, error) {
	path := cmp.Or(o.config, os.Getenv(configVariable))
	if path == "" {
		var err error
		if path, err = contexts.DefaultPath(); err != nil {
			return nil, err
		}
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	return contexts.Read(path)
}

// resolve is the context, but for what the environment says, but for what flags say. A socket needs no context.
func (o *connection) resolve() (contexts.Context, error) {
	name := cmp.Or(o.context, os.Getenv(contextVariable))
	over := contexts.Context{
		Server: os.Getenv(serverVariable), Pin: os.Getenv(pinVariable), CA: os.Getenv(caVariable), Operator: os.Getenv(operatorVariable),
	}.Over(o.over)
	if name == "" && over.Local() {
		return over, nil
	}
	f, err := o.read()
	if err != nil {
		return contexts.Context{}, err
	}
	c, err := f.Get(name)
	if err != nil {
		return c, fmt.Errorf("%w: emberctl context list shows those that are", err)
	}
	return c.Over(over), nil
}

// call does something with the server, within the time that there is.
func (o *connection) call(ctx context.Context, do func(context.Context, *admin.Client) error) error {
	c, err := o.client()
	if err != nil {
		return err
	}
	return o.within(ctx, func(ctx context.Context) error { return do(ctx, c) })
}

// within gives the server its time. Questions to people are not in it.
func (o *connection) within(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	return do(ctx)
}

func (o *connection) client() (*admin.Client, error) {
	c, err := o.resolve()
	if err != nil {
		return nil, err
	}
	return c.Open()
}
