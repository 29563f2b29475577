package tpm_test

import (
	"errors"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/ember-os/ember/attest/attesttest"
	"github.com/ember-os/ember/attest/eventlog"
	"github.com/ember-os/ember/attest/tpm"
)

func TestReadPCRs(t *testing.T) {
	p := attesttest.New(t, "one")
	if err := p.Extend(11, make([]byte, 32)); err != nil {
		t.Fatal(err)
	}
	all := []int{11}
	for pcr := range 17 {
		all = append(all, pcr)
	}
	values, err := tpm.ReadPCRs(p, all...)
	if err != nil || len(values) != 17 {
		t.Fatalf("%d values, %v", len(values), err)
	}
	for pcr, value := range values {
		want := [32]byte{}
		if pcr == 11 {
			want = eventlog.Extend(want, want)
		}
		if value != want {
			t.Errorf("PCR %d is %x", pcr, value)
		}
	}
	if none, err := tpm.ReadPCRs(p); len(none) > 0 || err != nil {
		t.Errorf("%v, %v", none, err)
	}
	if err := p.Banks(tpm2.TPMAlgSHA1); err != nil {
		t.Fatal(err)
	}
	if _, err := tpm.ReadPCRs(p, 7); !errors.Is(err, tpm.ErrNoSHA256) {
		t.Errorf("%v", err)
	}
}

func TestResets(t *testing.T) {
	p := attesttest.New(t, "one")
	before, err := tpm.Resets(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, again := range []func() error{p.Reset, p.Reboot} {
		if err := again(); err != nil {
			t.Fatal(err)
		}
		if n, err := tpm.Resets(p); n != before+1 || err != nil {
			t.Errorf("%d after %d, %v", n, before, err)
		}
		before++
	}
	gone := errors.New("gone")
	if _, err := tpm.Resets(without{gone}); !errors.Is(err, gone) {
		t.Errorf("%v", err)
	}
}
