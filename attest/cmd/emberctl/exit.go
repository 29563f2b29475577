package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/ember-os/ember/attest/admin"
	"github.com/ember-os/ember/attest/client"
	"github.com/ember-os/ember/attest/contexts"
	"github.com/ember-os/ember/attest/overlay/depot"
	"github.com/ember-os/ember/attest/store"
)

// The exit statuses, which docs/emberctl.md has too.
const (
	done      = iota
	failed    // for any other reason
	wrongCall // it makes no sense
	notFound  // there is no such machine, overlay, version or context
	refused   // the server, or whoever was asked, said no
	negative  // what was asked is answered: no
)

// exitError is an error with its exit status.
type exitError struct {
	status int
	err    error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// misuse is the error of a call that makes no sense.
func misuse(format string, args ...any) error {
	return &exitError{wrongCall, fmt.Errorf(format, args...)}
}

// refusal is the error of what was not done because somebody said so.
func refusal(format string, args ...any) error {
	return &exitError{refused, fmt.Errorf(format, args...)}
}

// answerNo is the error of a question whose answer is no.
func answerNo(format string, args ...any) error {
	return &exitError{negative, fmt.Errorf(format, args...)}
}

var statuses = map[int][]error{
	notFound: {store.ErrNotFound, depot.ErrNotFound, admin.ErrNoFolder, contexts.ErrNotFound},
	refused:  {store.ErrEnrolled, store.ErrRevoked, store.ErrOlder, depot.ErrOther, depot.ErrUnfit, admin.ErrUnknownOperator},
}

func statusOf(err error) int {
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.status
	}
	for status, all := range statuses {
		for _, known := range all {
			if errors.Is(err, known) {
				return status
			}
		}
	}
	return failed
}

// advise adds to an error what to do about it.
func advise(err error) error {
	advice := ""
	switch _, untrusted := errors.AsType[*client.Untrusted](err); {
	case untrusted:
		advice = "compare the pin with the one that attestd certificate has said, and look at --server, --pin and --ca"
	case errors.Is(err, admin.ErrUnknownOperator):
		advice = "give the certificate that emberctl keygen --operator has made to whoever runs the server, for its folder of operators"
	case errors.Is(err, store.ErrEnrolled):
		advice = "emberctl forget unsays that"
	case errors.Is(err, store.ErrRevoked):
		advice = "emberctl forget lets it be enrolled again"
	case errors.Is(err, context.DeadlineExceeded):
		advice = "is the server there? --timeout waits longer"
	case errors.Is(err, syscall.ECONNREFUSED):
		advice = "is attestd running, and does it listen there? operators.listen in its configuration is the address"
	case errors.Is(err, fs.ErrPermission):
		advice = "is it yours? a unix socket is for the user that attestd runs as"
	default:
		return err
	}
	return fmt.Errorf("%w: %s", err, advice)
}
