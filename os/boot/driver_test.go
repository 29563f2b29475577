package boot

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ember-os/ember/attest/client"
	"github.com/ember-os/ember/os/lkg/machine"
	"github.com/ember-os/ember/os/stage"
)

// fake is a machine on which everything takes a second and ends as it is told to.
type fake struct {
	did     []string
	ends    map[string]error         // of work, by the phase, and of leave, by the verb; nil for all others
	takes   map[string]time.Duration // instead of a second
	health  []string                 // "30s good", "5s bad": one after the other, once the workload has started
	answers int                      // the probe that is answered
	output  bytes.Buffer
	cancel  context.CancelFunc
}

func (f *fake) begin(ctx context.Context, p machine.Phase, kept bool) error {
	name := string(p)
	if kept {
		name += "-kept"
	}
	f.did = append(f.did, name)
	d, ok := f.takes[name]
	if !ok {
		d = time.Second
	}
	select {
	case <-time.After(d):
		return f.ends[name]
	case <-ctx.Done():
		if err := f.ends[name]; err != nil {
			return err
		}
		return ctx.Err()
	}
}

func (f *fake) start() error {
	f.did = append(f.did, "ready")
	return f.ends["ready"]
}

func (f *fake) watch(ctx context.Context, changed func(bool, string)) {
	for _, h := range f.health {
		after, how, _ := strings.Cut(h, " ")
		d, err := time.ParseDuration(after)
		if err != nil {
			panic(err)
		}
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return
		}
		changed(how == "good", "it is "+h)
	}
	<-ctx.Done()
}

func (f *fake) probe(context.Context) error {
	f.did = append(f.did, "probe")
	if f.answers--; f.answers == 0 {
		return nil
	}
	return errors.New("no answer")
}

func (f *fake) leave(_ context.Context, v machine.Verb, why string) error {
	f.did = append(f.did, string(v))
	err := f.ends[string(v)]
	if err == nil {
		f.cancel()
	}
	return err
}

func (f *fake) tell(_ machine.Machine, fields []stage.Field) {
	f.did = append(f.did, stage.FormatFields(fields...))
}

var (
	gone    = &client.Unreachable{Err: errors.New("gone")}
	refused = &client.Refused{Code: "no"}
	broken  = errors.New("broken")
)

func TestDriver(t *testing.T) {
	for _, tt := range []struct {
		name   string
		from   machine.Source
		before []machine.Event
		fake   fake
		did    string
	}{
		{"good", machine.Network, nil, fake{health: []string{"1s bad", "5s good"}}, `
			phase=netboot from=network, netboot,
			phase=attest from=network, attest,
			phase=fetch from=network, fetch,
			phase=apply from=network, apply,
			phase=start from=network, ready,
			phase=healthy from=network,
			phase=commit from=network, commit,
			phase=kept from=network,
			phase=leaving from=network`},
		{"health flaps", machine.Network, nil, fake{health: []string{"1s good", "5s bad", "5s good", "60s bad"}}, `
			phase=netboot from=network, netboot,
			phase=attest from=network, attest,
			phase=fetch from=network, fetch,
			phase=apply from=network, apply,
			phase=start from=network, ready,
			phase=healthy from=network,
			phase=start from=network why="it is 5s bad",
			phase=healthy from=network,
			phase=commit from=network, commit,
			phase=kept from=network,
			phase=leaving from=network`},
		{"ill while it is kept", machine.Network, nil, fake{health: []string{"1s good", "31s bad"}, takes: map[string]time.Duration{"commit": 10 * time.Second}}, `
			phase=netboot from=network, netboot,
			phase=attest from=network, attest,
			phase=fetch from=network, fetch,
			phase=apply from=network, apply,
			phase=start from=network, ready,
			phase=healthy from=network,
			phase=commit from=network, commit,
			phase=kept from=network,
			phase=leaving from=network`},
		{"never healthy", machine.Network, nil, fake{health: []string{"1s bad"}}, `
			phase=netboot from=network, netboot,
			phase=attest from=network, attest,
			phase=fetch from=network, fetch,
			phase=apply from=network, apply,
			phase=start from=network, ready,
			phase=waiting from=network why="15m0s are over: it is 1s bad" wait=30s,
			phase=leaving from=network why="15m0s are over: it is 1s bad", reboot`},
		{"the commit fails", machine.Network, nil, fake{health: []string{"1s good"}, ends: map[string]error{"commit": broken}}, `
			phase=netboot from=network, netboot,
			phase=attest from=network, attest,
			phase=fetch from=network, fetch,
			phase=apply from=network, apply,
			phase=start from=network, ready,
			phase=healthy from=network,
			phase=commit from=network, commit,
			phase=kept from=network why=broken,
			phase=leaving from=network`},
		{"no server for the commit", machine.Network, nil, fake{health: []string{"1s good"}, ends: map[string]error{"commit": gone}}, `
			phase=netboot from=network, netboot,
			phase=attest from=network, attest,
			phase=fetch from=network, fetch,
			phase=apply from=network, apply,
			phase=start from=network, ready,
			phase=healthy from=network,
			phase=commit from=network, commit,
			phase=kept from=network why="no answer of the attestation server: gone",
			phase=leaving from=network`},
		{"a commit until long after the limit of start", machine.Network, nil, fake{health: []string{"865s good"}, takes: map[string]time.Duration{"commit": 20 * time.Minute}}, `
			phase=netboot from=network, netboot,
			phase=attest from=network, attest,
			phase=fetch from=network, fetch,
			phase=apply from=network, apply,
			phase=start from=network, ready,
			phase=healthy from=network,
			phase=commit from=network, commit,
			phase=kept from=network,
			phase=leaving from=network`},
		{"no server", machine.Network, nil, fake{takes: map[string]time.Duration{"attest": time.Hour}, ends: map[string]error{"attest": gone, "next": broken}}, `
			phase=netboot from=network, netboot,
			phase=attest from=network, attest,
			phase=leaving from=network why="3m0s are over: no answer of the attestation server: gone", next, kexec`},
		{"refused at the last moment", machine.Network, nil, fake{takes: map[string]time.Duration{"attest": time.Hour}, ends: map[string]error{"attest": refused}}, `
			phase=netboot from=network, netboot,
			phase=attest from=network, attest,
			phase=waiting from=network why="the attestation server refuses this machine: no" wait=30s,
			phase=leaving from=network why="the attestation server refuses this machine: no", reboot`},
		{"refused", machine.Disk, nil, fake{ends: map[string]error{"attest": refused}}, `
			phase=netboot from=disk, netboot,
			phase=attest from=disk, attest,
			phase=waiting from=disk why="the attestation server refuses this machine: no" wait=30s,
			phase=leaving from=disk why="the attestation server refuses this machine: no", reboot`},
		{"the disk until the server is back", machine.Disk, nil, fake{health: []string{"1s good"}, answers: 3, ends: map[string]error{"attest": gone}}, `
			phase=netboot from=disk, netboot,
			phase=attest from=disk, attest,
			phase=fetch from=disk overlay=kept why="no answer of the attestation server: gone", fetch-kept,
			phase=apply from=disk overlay=kept, apply,
			phase=start from=disk overlay=kept, ready,
			phase=healthy from=disk overlay=kept,
			phase=commit from=disk overlay=kept, commit,
			phase=kept from=disk overlay=kept, probe, probe, probe,
			phase=waiting from=disk overlay=kept why="the server answers" wait=30s,
			phase=leaving from=disk overlay=kept why="the server answers", return`},
		{"the disk, ill until the server is back", machine.Disk, nil, fake{health: []string{"1s bad"}, answers: 2, ends: map[string]error{"attest": gone}}, `
			phase=netboot from=disk, netboot,
			phase=attest from=disk, attest,
			phase=fetch from=disk overlay=kept why="no answer of the attestation server: gone", fetch-kept,
			phase=apply from=disk overlay=kept, apply,
			phase=start from=disk overlay=kept, ready, probe, probe,
			phase=waiting from=disk overlay=kept why="the server answers" wait=30s,
			phase=leaving from=disk overlay=kept why="the server answers", return`},
		{"the disk, well after a long time", machine.Disk, nil, fake{health: []string{"1s bad", "1000s good"}, answers: 4, ends: map[string]error{"attest": gone}}, `
			phase=netboot from=disk, netboot,
			phase=attest from=disk, attest,
			phase=fetch from=disk overlay=kept why="no answer of the attestation server: gone", fetch-kept,
			phase=apply from=disk overlay=kept, apply,
			phase=start from=disk overlay=kept, ready, probe,
			phase=healthy from=disk overlay=kept, probe,
			phase=commit from=disk overlay=kept, commit,
			phase=kept from=disk overlay=kept, probe, probe,
			phase=waiting from=disk overlay=kept why="the server answers" wait=30s,
			phase=leaving from=disk overlay=kept why="the server answers", return`},
		{"started again", machine.Network, []machine.Event{machine.Done, machine.Done, machine.Done, machine.Done}, fake{health: []string{"1s good"}}, `
			phase=start from=network, ready,
			phase=healthy from=network,
			phase=commit from=network, commit,
			phase=kept from=network,
			phase=leaving from=network`},
		{"started again in the middle", machine.Network, []machine.Event{machine.Done, machine.Done, machine.Done, machine.Broken}, fake{}, `
			phase=waiting from=network wait=30s,
			phase=leaving from=network, reboot`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &tt.fake
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				f.cancel = cancel
				b := machine.Boot{From: tt.from, Failures: 1, Jitter: 0.5, Limits: machine.DefaultLimits}
				if tt.from == machine.Network {
					b.Means = machine.Means{Next: true, Kexec: true}
				}
				newDriver(f, slog.New(slog.NewTextHandler(&f.output, nil))).run(ctx, b, tt.before...)
				if got, want := strings.Join(f.did, ", "), strings.Join(strings.Fields(tt.did), " "); got != want {
					t.Errorf("it did %s;\nwant %s", strings.ReplaceAll(got, ", phase", ",\nphase"), strings.ReplaceAll(want, ", phase", ",\nphase"))
				}
				t.Logf("%s", &f.output)
			})
		})
	}
}

func TestLimits(t *testing.T) {
	if limits(nil) != machine.DefaultLimits {
		t.Error("without any they are others")
	}
	l := limits(map[string]time.Duration{"start": time.Hour, "longest": time.Second})
	want := machine.DefaultLimits
	want.Start, want.MaxBackoff = time.Hour, time.Second
	if l != want {
		t.Errorf("%+v", l)
	}
}
