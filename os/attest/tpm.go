package attest

import (
	"errors"

	"github.com/ember-os/ember/attest/tpm"
	"github.com/google/go-tpm/tpm2/transport"
)

// tpmSession is a session and the TPM that it is on.
type tpmSession struct {
	*tpm.Session
	device transport.TPMCloser
}

func (s tpmSession) Close() error { return errors.Join(s.Session.Close(), s.device.Close()) }

// openTPM starts a session on the TPM at path. The error is of type noTPM where there is none that could ever
// attest, of type unfit where somebody has to change something.
func openTPM(path string) (session, error) {
	device, err := tpm.Open(path)
	if err != nil {
		return nil, lasting(err)
	}
	s, err := tpm.Start(device)
	if err != nil {
		return nil, lasting(errors.Join(err, device.Close()))
	}
	return tpmSession{s, device}, nil
}

// lasting makes those errors of the TPM that stay noTPM or unfit.
func lasting(err error) error {
	switch {
	case errors.Is(err, tpm.ErrNone) || errors.Is(err, tpm.ErrVersion12):
		return noTPM{err}
	case errors.Is(err, tpm.ErrFailure) || errors.Is(err, tpm.ErrNoSHA256) || errors.Is(err, tpm.ErrPassword):
		return unfit{err}
	}
	return err
}

// capTPM keeps what comes later from attesting as this boot.
func capTPM(path string) error {
	device, err := tpm.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(tpm.Cap(device), device.Close())
}
