package netstate

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestAwait(t *testing.T) {
	path := filepath.Join(t.TempDir(), "network.json")
	online := func(s State) bool { return s.Online }
	type answer struct {
		s   State
		err error
	}
	answers := make(chan answer, 1)
	go func() {
		s, err := Await(t.Context(), path, online)
		answers <- answer{s, err}
	}()
	for _, s := range []State{{Settled: true}, {Settled: true, Online: true, Link: "eth0"}} {
		if err := s.Write(path); err != nil {
			t.Fatal(err)
		}
	}
	if a := <-answers; a.err != nil || a.s.Link != "eth0" {
		t.Errorf("%+v, %v", a.s, a.err)
	}
	if s, err := Await(t.Context(), path, online); err != nil || s.Link != "eth0" {
		t.Errorf("of a state that is there: %+v, %v", s, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Await(ctx, path, func(State) bool { return false }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := Await(t.Context(), filepath.Join(t.TempDir(), "missing", "network.json"), online); err == nil {
		t.Error("a directory that is not there is watched")
	}
}

// TestWatch has others replace files in the directory too.
func TestWatch(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "network.json")
	changed, err := Watch(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for _, file := range []string{filepath.Join(dir, "services.json"), path} {
			if err := (State{}).Write(file); err != nil {
				t.Fatal(err)
			}
		}
		<-changed
	}
	select {
	case <-changed:
		t.Error("a change is told that was none")
	default:
	}
}

func TestTellsOf(t *testing.T) {
	event := func(mask uint32, name string) []byte {
		b := binary.NativeEndian.AppendUint32(nil, 1)
		b = binary.NativeEndian.AppendUint32(b, mask)
		b = binary.NativeEndian.AppendUint32(b, 0)
		b = binary.NativeEndian.AppendUint32(b, uint32(len(name)))
		return append(b, name...)
	}
	other, ours := event(unix.IN_MOVED_TO, "services.json\x00\x00\x00"), event(unix.IN_MOVED_TO, "network.json\x00\x00\x00\x00")
	for name, tt := range map[string]struct {
		events []byte
		want   bool
	}{
		"ours":   {ours, true},
		"others": {slices.Concat(other, other), false},
		"both":   {slices.Concat(other, ours), true},
		"lost":   {slices.Concat(other, event(unix.IN_Q_OVERFLOW, "")), true},
		"none":   {nil, false},
	} {
		if got := tellsOf(tt.events, "network.json"); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "network.json")
	if s, err := Read(path); err != nil || !reflect.DeepEqual(s, State{}) {
		t.Errorf("before it is written: %v, %v", s, err)
	}
	for _, s := range []State{{}, {
		Settled: true, Online: true, Link: "eth0", Hostname: "node7", Domain: "rack.example",
		Search: []string{"rack.example"}, DNS: []netip.Addr{netip.MustParseAddr("10.0.0.1")}, NTP: []string{"ntp.example"},
		Links: []Link{{Name: "eth0", MAC: "52:54:00:00:00:01", Driver: "virtio_net", Carrier: true, MTU: 1500, Addresses: []Address{{
			Prefix: netip.MustParsePrefix("10.0.0.7/24"), Gateway: netip.MustParseAddr("10.0.0.1"), Source: DHCP4,
			Server: netip.MustParseAddr("10.0.0.1"), Expires: 24 * time.Hour,
		}}}, {Name: "eth1", Note: "no carrier"}},
	}} {
		if err := s.Write(path); err != nil {
			t.Fatal(err)
		}
		if got, err := Read(path); err != nil || !reflect.DeepEqual(got, s) {
			t.Errorf("read back %+v, %v; want %+v", got, err, s)
		}
	}
	if err := os.WriteFile(path, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil {
		t.Error("half a file is read without an error")
	}
}
