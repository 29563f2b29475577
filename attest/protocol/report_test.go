package protocol_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/ember-os/ember/attest/protocol"
)

// reports are testdata/reports.json.
type reports struct {
	Taken   []json.RawMessage          `json:"taken"`
	Refused map[string]json.RawMessage `json:"refused"`
}

func readReports(t testing.TB) (r reports) {
	t.Helper()
	b, err := os.ReadFile("testdata/reports.json")
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil || len(r.Taken) == 0 || len(r.Refused) == 0 {
		t.Fatalf("reading the reports: %v", err)
	}
	return r
}

func TestReportVectors(t *testing.T) {
	all := readReports(t)
	for name, b := range all.Refused {
		if r, err := protocol.DecodeReport(b); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
	got, err := protocol.DecodeReport(all.Taken[1])
	if err != nil {
		t.Fatal(err)
	}
	want := &protocol.Report{
		Version: 1, Receipt: []byte("receipt"),
		Stages: []string{
			"ember: stage=start t=0.412 version=0.1.0",
			"ember: stage=attest t=3.912 tier=attested node=5f6a overlay=7",
			`ember: stage=network t=2.001 link=eth0 why="no \"route\""`,
		},
		Status: json.RawMessage(`{"Version":"0.1.0","Hardware":{"CPU":{"Cores":4}}}`),
		Health: protocol.Health{State: "failing", Why: "1 failed: kubelet.service"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	roundTrip(t, got)
	if r, err := protocol.DecodeReport(all.Taken[0]); err != nil || len(r.Stages) != 0 || r.Status != nil {
		t.Errorf("the smallest: %+v, %v", r, err)
	}
}

func roundTrip(t *testing.T, r *protocol.Report) {
	t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	again, err := protocol.DecodeReport(b)
	if err != nil {
		return // characters that JSON for HTML writes with six bytes can make it too large
	}
	if more, _ := json.Marshal(again); !bytes.Equal(b, more) {
		t.Errorf("%s, but before %s", more, b)
	}
}

func TestReportBounds(t *testing.T) {
	full := func() protocol.Report {
		return protocol.Report{Version: 1, Stages: make([]string, protocol.MaxStages), Status: json.RawMessage("{}"), Receipt: make([]byte, 128<<10)}
	}
	for name, change := range map[string]func(*protocol.Report){
		"one stage too many": func(r *protocol.Report) { r.Stages = append(r.Stages, "") },
		"a long stage":       func(r *protocol.Report) { r.Stages[0] = strings.Repeat("x", 513) },
		"long stages": func(r *protocol.Report) {
			for i := range r.Stages {
				r.Stages[i] = strings.Repeat("x", 200)
			}
		},
		"a large status":       func(r *protocol.Report) { r.Status = fmt.Appendf(nil, `{"a":%q}`, strings.Repeat("x", 32<<10)) },
		"a long why":           func(r *protocol.Report) { r.Health.Why = strings.Repeat("x", 513) },
		"a large receipt":      func(r *protocol.Report) { r.Receipt = make([]byte, 128<<10+1) },
		"a receipt over sizes": func(r *protocol.Report) { r.Receipt = make([]byte, protocol.MaxReport) },
	} {
		r := full()
		if b, _ := json.Marshal(r); true {
			if _, err := protocol.DecodeReport(b); err != nil {
				t.Fatalf("within the bounds: %v", err)
			}
		}
		change(&r)
		if b, _ := json.Marshal(r); true {
			if _, err := protocol.DecodeReport(b); err == nil {
				t.Errorf("%s is taken", name)
			}
		}
	}
}

func FuzzDecodeReport(f *testing.F) {
	all := readReports(f)
	for _, b := range all.Taken {
		f.Add([]byte(b))
	}
	for _, b := range all.Refused {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := protocol.DecodeReport(b); err == nil {
			roundTrip(t, r)
		}
	})
}
