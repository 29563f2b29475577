package view

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/store"
	"github.com/ember-os/ember/attest/verify"
)

var (
	node  = strings.Repeat("ab", 32)
	first = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
)

func verdict(code string, minutes int, image string) store.Verdict {
	return store.Verdict{Node: node, Time: first.Add(time.Duration(minutes) * time.Minute), Code: code, Tier: protocol.Attested, Claims: protocol.Claims{Image: image}}
}

// What somebody says in the name of a machine does not become what is known of it.
func TestRowOf(t *testing.T) {
	proof := &store.Proof{Verdict: verdict(store.Granted, 0, "1")}
	refused, granted := verdict("policy-pcr", 1, "2"), verdict(store.Granted, 2, "3")
	unknown := verdict("ek-queued", 1, "2")
	unknown.Tier = protocol.None
	enrolled := func(minutes int) *store.Machine {
		return &store.Machine{State: store.Enrolled, Time: first.Add(time.Duration(minutes) * time.Minute)}
	}
	for name, test := range map[string]struct {
		store.Summary
		state, verdict, image string
		proved, opened        bool
	}{
		"waiting":               {Summary: store.Summary{Waiting: &store.Waiting{Claims: protocol.Claims{Image: "0"}}}, state: Waiting, image: "0"},
		"waiting, and was told": {Summary: store.Summary{Waiting: &store.Waiting{Last: first}, Refused: &refused}, state: Waiting, verdict: "policy-pcr", image: "2"},
		"waited long ago":       {Summary: store.Summary{Waiting: &store.Waiting{}, Refused: &refused}, state: Refused, verdict: "policy-pcr", image: "2"},
		"proved, and waits":     {Summary: store.Summary{Proof: proof, Waiting: &store.Waiting{Last: first.Add(time.Minute)}, Refused: &unknown}, state: Refused, verdict: "ek-queued", image: "1", proved: true},
		"proved since it waits": {Summary: store.Summary{Proof: proof, Waiting: &store.Waiting{Last: first.Add(-time.Second)}}, state: Attested, verdict: "ok", image: "1", proved: true, opened: true},
		"revoked":               {Summary: store.Summary{Machine: &store.Machine{State: store.Revoked}, Proof: proof}, state: Revoked, verdict: "ok", image: "1", proved: true, opened: true},
		"enrolled":              {Summary: store.Summary{Machine: &store.Machine{State: store.Enrolled}}, state: Enrolled},
		"approved":              {Summary: store.Summary{Machine: enrolled(2), Refused: &unknown}, state: Enrolled, verdict: "ek-queued", image: "2"},
		"enrolled, and refused": {Summary: store.Summary{Machine: enrolled(0), Refused: &unknown}, state: Refused, verdict: "ek-queued", image: "2"},
		"enrolled after it":     {Summary: store.Summary{Machine: enrolled(2), Refused: &refused}, state: Refused, verdict: "policy-pcr", image: "2"},
		"proved":                {Summary: store.Summary{Proof: proof}, state: Attested, verdict: "ok", image: "1", proved: true, opened: true},
		"refused":               {Summary: store.Summary{Refused: &refused}, state: Refused, verdict: "policy-pcr", image: "2"},
		"refused after it":      {Summary: store.Summary{Proof: proof, Refused: &refused}, state: Refused, verdict: "policy-pcr", image: "1", proved: true},
		"granted, not opened":   {Summary: store.Summary{Proof: proof, Refused: &refused, Granted: &granted}, state: Granted, verdict: "ok", image: "1", proved: true},
		"granted, never there":  {Summary: store.Summary{Granted: &granted}, state: Granted, verdict: "ok", image: "3"},
	} {
		r := RowOf(&test.Summary)
		if r.State != test.state || r.Verdict != test.verdict || r.Image != test.image || r.Proved != test.proved || r.Opened != test.opened {
			t.Errorf("%s: %+v", name, r)
		}
		if name == "proved" && r.Attested != first {
			t.Errorf("it was there at %v", r.Attested)
		}
		if test.proved && r.Tier != protocol.Attested {
			t.Errorf("%s: tier %s", name, r.Tier)
		}
	}
}

func TestStateOf(t *testing.T) {
	ok := store.Verdict{Code: store.Granted, Time: first, Certificate: "1"}
	later := store.Verdict{Code: store.Granted, Time: first.Add(time.Hour), Certificate: "2"}
	no := store.Verdict{Code: "capped", Time: first.Add(time.Hour)}
	before := store.Verdict{Code: "capped", Time: first.Add(-time.Hour)}
	proof := &store.Proof{Verdict: ok}
	queued := &store.Waiting{Last: first.Add(time.Hour)}
	for _, test := range []struct {
		name string
		s    store.Summary
		want string
	}{
		{"proved", store.Summary{Proof: proof}, Attested},
		{"proved after a refusal", store.Summary{Proof: proof, Refused: &before}, Attested},
		{"refused since", store.Summary{Proof: proof, Refused: &no}, Refused},
		{"never let in", store.Summary{Refused: &no}, Refused},
		{"let in again, not opened", store.Summary{Proof: proof, Granted: &later}, Granted},
		{"let in, not opened", store.Summary{Granted: &ok}, Granted},
		{"enrolled", store.Summary{Machine: &store.Machine{State: store.Enrolled}}, Enrolled},
		{"revoked", store.Summary{Machine: &store.Machine{State: store.Revoked}, Proof: proof}, Revoked},
		{"in the queue", store.Summary{Waiting: queued}, Waiting},
		{"in the queue, and refused for that", store.Summary{Waiting: queued, Refused: &no}, Waiting},
	} {
		if got := StateOf(&test.s); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

func TestLast(t *testing.T) {
	proof, refusal := &Evidence{Policy: "proof"}, &Evidence{Policy: "refusal"}
	for _, test := range []struct {
		n    Node
		want *Evidence
	}{
		{Node{}, nil},
		{Node{Proof: proof}, proof},
		{Node{Refusal: refusal}, refusal},
		{Node{Row: Row{Verdict: "ok"}, Proof: proof, Refusal: refusal}, proof},
		{Node{Row: Row{Verdict: "policy-pcr"}, Proof: proof, Refusal: refusal}, refusal},
	} {
		if got := test.n.Last(); got != test.want {
			t.Errorf("%+v: %+v", test.n, got)
		}
	}
}

// What a policy judges comes back as it was, through JSON.
func TestVerified(t *testing.T) {
	value, digest := bytes.Repeat([]byte{7}, 32), bytes.Repeat([]byte{9}, 32)
	v := verdict("policy-pcr", 0, "1")
	n := NodeOf(&store.Summary{Node: node, Refused: &v}, nil, &store.Evidence{
		PCRs:   []store.PCR{{Index: 7, Value: value, Explained: true}, {Index: 8, Value: digest}},
		Events: []store.Event{{PCR: 7, Type: 8, Digest: digest}},
	}, []store.Report{{Stages: []string{"ember: stage=late t=2.000 a=b", "nonsense", "ember: stage=early t=1.500"}}})
	if len(n.Boots) != 1 || len(n.Boots[0].Stages) != 2 || n.Boots[0].Stages[0].Name != "early" || n.Boots[0].Stages[1] != (Stage{"late", 2, "a=b"}) {
		t.Errorf("boots: %+v", n.Boots)
	}
	b, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	var back Node
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	e, err := back.Last().Verified(back.Node)
	if err != nil {
		t.Fatal(err)
	}
	if e.Node != node || e.Tier != protocol.Attested || !bytes.Equal(e.PCRs[7], value) || !e.Explained[7] || e.Explained[8] ||
		len(e.Events) != 1 || e.Events[0].PCR != 7 || e.Events[0].Type != 8 || !bytes.Equal(e.Events[0].Digest, digest) {
		t.Errorf("%+v", e)
	}
}

func FuzzVerified(f *testing.F) {
	f.Add([]byte(`{"node":"x","proof":{"pcrs":[{"index":7,"value":"` + strings.Repeat("07", 32) + `"}],"events":[{"pcr":7,"digest":"` + strings.Repeat("09", 32) + `"}]}}`))
	f.Add([]byte(`{"refusal":{"pcrs":[{"value":"zz"}]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var n Node
		if json.Unmarshal(b, &n) != nil || n.Last() == nil {
			return
		}
		e, err := n.Last().Verified(n.Node)
		if err != nil {
			return
		}
		for _, event := range e.Events {
			if len(event.Digest) != 32 || verify.TypeName(event.Type) == "" {
				t.Errorf("%+v", event)
			}
		}
	})
}
