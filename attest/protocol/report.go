package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// ReportPath is where a server takes a Report.
const ReportPath = "/v1/report"

// The bounds of a report, in bytes if they say nothing else.
const (
	MaxReport  = 256 << 10 // of JSON
	MaxStages  = 64        // lines
	maxStage   = 512
	maxLines   = 12 << 10 // of all stages
	MaxStatus  = 32 << 10
	maxState   = 16
	maxWhy     = 512
	maxReceipt = 128 << 10
)

// Report is what a machine says of itself after it was let in, over a connection with the grant's certificate
// as the client's. It takes the place of the one before. No TPM vouches for what is in it.
type Report struct {
	Version int `json:"version"`
	// Receipt is the Response's. It may be absent once a report with it was taken.
	Receipt []byte `json:"receipt,omitempty"`
	// Stages are the lines of the stages of this boot so far, "ember: stage=NAME t=SECONDS ...".
	Stages []string `json:"stages"`
	// Status is the object that "ember status --json" prints, or absent.
	Status json.RawMessage `json:"status,omitempty"`
	Health Health          `json:"health"`
}

// Health is how a node is, by its own word.
type Health struct {
	// State is a word in lower-case letters: "starting", "healthy", "failing".
	State string `json:"state"`
	// Why is what is wrong, or missing.
	Why string `json:"why,omitempty"`
}

// DecodeReport reads a Report: of this version, within the bounds. Fields that it does not know are for later
// versions of it.
func DecodeReport(b []byte) (*Report, error) {
	if len(b) > MaxReport {
		return nil, fmt.Errorf("the report has more than %d bytes", MaxReport)
	}
	r := new(Report)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("reading the report: %w", err)
	}
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("reading the report: %w", err)
	}
	return r, nil
}

func (r *Report) check() error {
	lines := 0
	for _, line := range r.Stages {
		lines += len(line)
		if len(line) > maxStage || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r > '~' }) {
			return errors.New("a stage is not a line of visible ASCII")
		}
	}
	var status bytes.Buffer
	if len(r.Status) > 0 {
		if err := json.Compact(&status, r.Status); err != nil || status.Bytes()[0] != '{' {
			return errors.New("the status is not an object")
		}
		r.Status = status.Bytes()
	}
	switch {
	case r.Version != Version:
		return fmt.Errorf("it is of version %d, not %d", r.Version, Version)
	case len(r.Receipt) > maxReceipt:
		return errors.New("the receipt is too large")
	case len(r.Stages) > MaxStages || lines > maxLines:
		return errors.New("there are too many stages")
	case len(r.Status) > MaxStatus || !utf8.Valid(r.Status):
		return fmt.Errorf("the status has more than %d bytes, or is not of UTF-8", MaxStatus)
	case len(r.Health.State) > maxState || strings.Trim(r.Health.State, "abcdefghijklmnopqrstuvwxyz") != "":
		return errors.New("the health is not a word")
	case len(r.Health.Why) > maxWhy:
		return errors.New("why the health is so is too long")
	}
	return nil
}
