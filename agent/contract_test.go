package agent

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/netstate"
)

func TestImageOf(t *testing.T) {
	for line, want := range map[string]string{
		"":                                        "",
		"docker_registry= tink_worker_image=":     "",
		"docker_registry=r.example.com":           "r.example.com/tink-agent:latest",
		"docker_registry=r.example.com:5000/x":    "r.example.com:5000/x/tink-agent:latest",
		"tink_worker_image=q/a:1":                 "q/a:1",
		"tink_worker_image=q/a docker_registry=r": "q/a",
	} {
		c, errs := cmdline.Parse(line)
		if got := imageOf(c.Tinkerbell); got != want || len(errs) > 0 {
			t.Errorf("%q: %q, %v", line, got, errs)
		}
	}
}

func TestArguments(t *testing.T) {
	c, _ := cmdline.Parse("tink_worker_image=x")
	want := "-runtime containerd -containerd-socket /run/containerd/containerd.sock -transport grpc " +
		"-grpc-tls=false -grpc-insecure-tls=false -id a -registry-name ghcr.io/tinkerbell"
	if got := strings.Join(arguments(c.Tinkerbell, "a"), " "); got != want {
		t.Errorf("%q", got)
	}
	wantEnv := []string{"A=b", "WORKER_ID=a", "TINKERBELL_TLS=false", "TINKERBELL_INSECURE_TLS=false", "DOCKER_REGISTRY=ghcr.io/tinkerbell"}
	if got := environment([]string{"A=b"}, c.Tinkerbell, "a"); !slices.Equal(got, wantEnv) {
		t.Errorf("%q", got)
	}
}

func TestIdentity(t *testing.T) {
	state := netstate.State{Link: "eth1", Links: []netstate.Link{{Name: "eth0", MAC: "a"}, {Name: "eth1", MAC: "52:54:00:12:34:57"}}}
	for _, tt := range []struct {
		line        string
		state       netstate.State
		err         error
		id, instead string
	}{
		{"worker_id=x hw_addr=52:54:00:12:34:56", state, nil, "x", ""},
		{"worker_id= hw_addr=52:54:00:12:34:56", state, nil, "52:54:00:12:34:56", "the address of the card"},
		{"BOOTIF=01-52-54-00-12-34-56", state, nil, "52:54:00:12:34:56", "the address of the card"},
		{"", state, nil, "52:54:00:12:34:57", "the address of eth1"},
		{"", netstate.State{Links: state.Links}, nil, "", ""},
		{"", state, errors.New("unreadable"), "", ""},
	} {
		c, _ := cmdline.Parse(tt.line)
		id, instead, err := identity(c, func() (netstate.State, error) { return tt.state, tt.err })
		if id != tt.id || !strings.HasPrefix(instead, tt.instead) || (tt.instead == "") != (instead == "") || (err == nil) != (id != "") {
			t.Errorf("%q: %q, %q, %v", tt.line, id, instead, err)
		}
	}
}

func TestPauses(t *testing.T) {
	var p pauses
	for range 2 {
		for i, limit := range []time.Duration{1, 2, 4, 8, 16, 30, 30, 30} {
			if d := p.next(); d < limit*time.Second/2 || d >= limit*time.Second {
				t.Errorf("pause %d is %v", i, d)
			}
		}
		p.reset()
	}
	p.failures = 1 << 40
	if d := p.next(); d < lastPause/2 || d > lastPause {
		t.Errorf("%v after very many failures", d)
	}
}

func FuzzLines(f *testing.F) {
	f.Add("one\ntwo\n\nthree", 3)
	f.Fuzz(func(t *testing.T, text string, cut int) {
		var whole, parts []string
		w := lines{f: func(s string) { whole = append(whole, s) }}
		w.Write([]byte(text))
		p := lines{f: func(s string) { parts = append(parts, s) }}
		cut = min(max(cut, 0), len(text))
		p.Write([]byte(text[:cut]))
		p.Write([]byte(text[cut:]))
		if !slices.Equal(whole, parts) || len(whole) != strings.Count(text, "\n") {
			t.Errorf("%q gives %q, cut at %d %q", text, whole, cut, parts)
		}
	})
}
