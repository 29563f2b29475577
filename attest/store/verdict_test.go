package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/store"
	"github.com/ember-os/ember/attest/store/bolt"
)

func granted(node, certificate string, at time.Time) store.Verdict {
	return store.Verdict{
		Node: node, Time: at, Address: "192.0.2.1", Code: store.Granted, Policy: "p", Tier: protocol.Attested,
		Overlay: "o", Version: 3, Certificate: certificate, Claims: protocol.Claims{Image: "1"},
	}
}

func denied(node string, at time.Time) store.Verdict {
	return store.Verdict{Node: node, Time: at, Address: "203.0.113.9", Code: "policy-pcr", Reason: "p: PCR 7 is 00", Policy: "p", Tier: protocol.Attested, Differs: []int{7}}
}

func TestAttest(t *testing.T) {
	r, now := open(t)
	ctx := t.Context()
	if v, revision, err := r.Last(ctx, nodeA); err != nil || revision != 0 || v.Node != "" {
		t.Fatalf("before: %+v, %d, %v", v, revision, err)
	}
	v := granted(nodeA, "1", *now)
	if err := r.Attest(ctx, v, 0); err != nil {
		t.Fatal(err)
	}
	if err := r.Attest(ctx, v, 0); !errors.Is(err, store.ErrConflict) {
		t.Errorf("at once: %v", err)
	}
	got, revision, err := r.Last(ctx, nodeA)
	if err != nil || !reflect.DeepEqual(got, v) {
		t.Errorf("after: %+v, %v", got, err)
	}
	if err := r.Attest(ctx, v, revision); err != nil {
		t.Error(err)
	}
}

// What anybody can say of a machine takes the place of nothing that the machine has proved.
func TestProofStays(t *testing.T) {
	r, now := open(t)
	ctx := t.Context()
	evidence := store.Evidence{Policy: "p", PCRs: []store.PCR{{Index: 7, Value: []byte{7}}}}
	proved := granted(nodeA, "1", *now)
	if err := errors.Join(r.Attest(ctx, proved, 0), r.Prove(ctx, proved, evidence)); err != nil {
		t.Fatal(err)
	}
	other := granted(nodeA, "2", now.Add(time.Minute))
	_, revision, err := r.Last(ctx, nodeA)
	if err := errors.Join(err, r.Attest(ctx, other, revision)); err != nil {
		t.Fatal(err)
	}
	no := denied(nodeA, now.Add(2*time.Minute))
	if err := r.Refuse(ctx, no, store.Evidence{Policy: "q"}, false); err != nil {
		t.Fatal(err)
	}
	want := store.Summary{Node: nodeA, Proof: &store.Proof{Verdict: proved, Proved: *now}, Granted: &other, Refused: &no}
	if got, err := r.Summary(ctx, nodeA); err != nil || !reflect.DeepEqual(got, want) || got.Last().Code != no.Code {
		t.Errorf("%+v, %v", got, err)
	}
	if e, err := r.ProofEvidence(ctx, nodeA); err != nil || !reflect.DeepEqual(e, evidence) {
		t.Errorf("evidence of the proof: %+v, %v", e, err)
	}
	if e, err := r.RefusalEvidence(ctx, nodeA); err != nil || e.Policy != "q" {
		t.Errorf("evidence of the refusal: %+v, %v", e, err)
	}
	if err := r.Prove(ctx, granted(nodeA, "0", now.Add(-time.Minute)), store.Evidence{}); err != nil {
		t.Fatal(err)
	}
	if got, _ := r.Summary(ctx, nodeA); got.Proof.Certificate != "1" {
		t.Error("an older grant has taken the place of a newer one")
	}
	if err := r.Prove(ctx, other, store.Evidence{}); err != nil {
		t.Fatal(err)
	}
	if got, _ := r.Summary(ctx, nodeA); got.Proof.Certificate != "2" || got.Granted != nil {
		t.Errorf("after the newer one was opened: %+v", got)
	}
}

func TestStrangers(t *testing.T) {
	r, now := open(t)
	ctx := t.Context()
	var all sync.WaitGroup
	errs := make([]error, store.MaxStrangers)
	for i := range errs {
		all.Go(func() { errs[i] = r.Refuse(ctx, denied(fmt.Sprintf("%064x", i), *now), store.Evidence{}, false) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if err := r.Enroll(ctx, nodeB, "", "ann"); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name  string
		node  string
		known bool
		want  error
	}{
		{"one more", nodeA, false, store.ErrFull},
		{"one of them", fmt.Sprintf("%064x", 3), false, nil},
		{"one that is enrolled", nodeB, false, nil},
		{"one that is enrolled in a file", nodeC, true, nil},
	} {
		if err := r.Refuse(ctx, denied(test.node, *now), store.Evidence{}, test.known); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
	if err := r.Refuse(ctx, denied("a", *now), store.Evidence{}, true); err == nil {
		t.Error("what is no name was kept")
	}
}

func TestReports(t *testing.T) {
	r, now := open(t)
	ctx := t.Context()
	report := func(certificate, stage string) error {
		*now = now.Add(time.Minute)
		return r.Report(ctx, store.Report{
			Node: nodeA, Time: *now, Certificate: certificate, Stages: []string{stage}, Health: protocol.Health{State: "healthy"},
			Status: json.RawMessage(`{"Kernel":"6"}`),
		}, store.Progress{Stage: stage, Since: time.Second, Boot: "disk"})
	}
	if err := report("0", "start"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("without a proof: %v", err)
	}
	for boot := range store.KeptReports + 2 {
		certificate := fmt.Sprint(boot)
		if err := r.Prove(ctx, granted(nodeA, certificate, *now), store.Evidence{}); err != nil {
			t.Fatal(err)
		}
		for _, stage := range []string{"attest", "ready"} {
			if err := report(certificate, stage); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := report("0", "ready"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("of an older boot: %v", err)
	}
	// The largest that the protocol takes can be kept.
	large := store.Report{Node: nodeA, Time: *now, Certificate: "5", Health: protocol.Health{State: "healthy", Why: strings.Repeat("\x01", 512)}}
	large.Status = json.RawMessage(`{"a":"` + strings.Repeat("<", protocol.MaxStatus-8) + `"}`)
	for range protocol.MaxStages {
		large.Stages = append(large.Stages, strings.Repeat(`"`, 12<<10/protocol.MaxStages))
	}
	if b, _ := json.Marshal(protocol.Report{Version: 1, Stages: large.Stages, Health: large.Health}); true {
		if _, err := protocol.DecodeReport(b); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Report(ctx, large, store.Progress{}); err != nil {
		t.Errorf("the largest: %v", err)
	}
	if err := report("5", "ready"); err != nil {
		t.Fatal(err)
	}
	list, err := r.Reports(ctx, nodeA)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, report := range list {
		got = append(got, report.Certificate+report.Stages[0])
	}
	if want := []string{"5ready", "4ready", "3ready", "2ready"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	s, err := r.Summary(ctx, nodeA)
	if err != nil || s.Proof.Stage != "ready" || s.Proof.Since != time.Second || s.Proof.Health != "healthy" || s.Proof.Claims.Boot != "disk" || s.Time() != list[0].Time {
		t.Errorf("%+v, %v", s.Proof, err)
	}
}

func TestSummaries(t *testing.T) {
	r, now := open(t)
	ctx := t.Context()
	want := fleet(t, r, 300, *now)
	for _, limit := range []int{1, 7, 100, 1000} {
		var got []string
		after := ""
		for {
			page, err := r.Summaries(ctx, after, limit)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range page {
				one, err := r.Summary(ctx, s.Node)
				if err != nil || !reflect.DeepEqual(one, s) {
					t.Fatalf("%+v, %v, but in the list %+v", one, err, s)
				}
				got = append(got, s.Node)
			}
			if len(page) < limit {
				break
			}
			after = page[limit-1].Node
		}
		if !slices.Equal(got, want) {
			t.Errorf("pages of %d: %d machines, want %d", limit, len(got), len(want))
		}
	}
	waits := func(s *store.Summary) bool { return s.Waiting != nil }
	if list, err := r.Find(ctx, want[10], 5, waits); err != nil || len(list) != 5 || slices.ContainsFunc(list, func(s store.Summary) bool { return s.Waiting == nil || s.Node <= want[10] }) {
		t.Errorf("five that wait: %d, %v", len(list), err)
	}
	if _, err := r.Summary(ctx, nodeA); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an unknown machine: %v", err)
	}
	if _, err := r.Summary(ctx, "../secret"); err == nil || errors.Is(err, store.ErrNotFound) {
		t.Errorf("what is no name: %v", err)
	}
}

// fleet gives machines of all kinds, and returns their names, sorted.
func fleet(t testing.TB, r *store.Registry, n int, now time.Time) (nodes []string) {
	t.Helper()
	var all sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		nodes = append(nodes, fmt.Sprintf("%064x", i*7919))
		node := nodes[i]
		all.Go(func() { errs[i] = member(r, node, i, now) }) // at once, so that they share writes to the disk
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	slices.Sort(nodes)
	return nodes
}

func member(r *store.Registry, node string, i int, now time.Time) error {
	ctx, v := context.Background(), granted(node, fmt.Sprint(i), now)
	switch i % 5 {
	case 0:
		return r.Enroll(ctx, node, "rack", "ann")
	case 1:
		_, err := r.Enqueue(ctx, store.Waiting{Node: node, Problem: "ek-uncertified"}, 1<<20)
		return err
	case 2:
		return errors.Join(r.Enroll(ctx, node, "rack", "ann"), r.Refuse(ctx, denied(node, now), store.Evidence{}, false))
	case 3:
		return errors.Join(r.Attest(ctx, v, 0), r.Prove(ctx, v, store.Evidence{}))
	}
	return errors.Join(r.Prove(ctx, v, store.Evidence{}), r.Refuse(ctx, denied(node, now), store.Evidence{}, false))
}

func TestFit(t *testing.T) {
	e := store.Evidence{Policy: strings.Repeat("p", 200)}
	for i := range protocol.QuotedPCRs {
		p := store.PCR{Index: i, Value: make([]byte, 32)}
		for range 50 {
			p.Want = append(p.Want, make([]byte, 32))
		}
		e.PCRs = append(e.PCRs, p)
	}
	for range 50 {
		e.Missing = append(e.Missing, store.Event{Digest: make([]byte, 32)})
	}
	const all, differing = 1000, 10
	for i := range all {
		e.Events = append(e.Events, store.Event{PCR: i % 16, Type: 1 << 31, Digest: make([]byte, 32), Text: strings.Repeat(`"`, 64), Differs: i >= all-differing})
	}
	e.Fit()
	if e.Omitted+len(e.Events) != all || len(e.Events) < 100 {
		t.Errorf("%d events are left, %d were dropped", len(e.Events), e.Omitted)
	}
	kept := 0
	for _, event := range e.Events {
		if event.Differs {
			kept++
		}
	}
	if kept != differing {
		t.Errorf("%d of %d that differ are left", kept, differing)
	}
	r, _ := open(t)
	if err := r.Refuse(t.Context(), denied(nodeA, time.Time{}), e, true); err != nil {
		t.Errorf("the largest: %v", err)
	}
	small := store.Evidence{Events: []store.Event{{PCR: 7, Digest: make([]byte, 32)}}}
	small.Fit()
	if len(small.Events) != 1 || small.Omitted != 0 {
		t.Errorf("a small one: %+v", small)
	}
}

// BenchmarkSummaries reads all of 10,000 machines, as the status page does for a search.
func BenchmarkSummaries(b *testing.B) {
	s, err := bolt.Open(filepath.Join(b.TempDir(), "store"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	r := store.NewRegistry(s, nil)
	fleet(b, r, 10000, time.Now())
	b.ResetTimer()
	for b.Loop() {
		if list, err := r.Find(b.Context(), "", 10000, func(*store.Summary) bool { return true }); err != nil || len(list) != 10000 {
			b.Fatal(len(list), err)
		}
	}
}
