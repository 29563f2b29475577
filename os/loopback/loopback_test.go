package loopback_test

import (
	"net"
	"syscall"
	"testing"

	"github.com/ember-os/ember/os/loopback"
	"github.com/ember-os/ember/os/nstest"
)

func TestUp(t *testing.T) {
	if !nstest.Inside(t, syscall.CLONE_NEWNET) {
		return
	}
	wantUp(t, false)
	for range 2 {
		if err := loopback.Up(); err != nil {
			t.Fatal(err)
		}
		wantUp(t, true)
	}
}

func wantUp(t *testing.T, want bool) {
	t.Helper()
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if up := lo.Flags&net.FlagUp != 0; up != want {
		t.Fatalf("lo is up: %t, want %t", up, want)
	}
}
