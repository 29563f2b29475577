package station

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/ember-os/ember/attest/server"
)

// Verdict is a line of the audit log about a machine, or a fetch.
type Verdict struct {
	Message        string `json:"msg"`
	Decision       server.Verdict
	Code           string
	Reason         string
	Node           string
	Policy         string
	Tier           string
	Overlay        string
	OverlayVersion uint64
	Bytes          int64
	Stage, Health  string // of a report
}

// Verdicts are the lines of the audit log until now: those with one of the messages, such as "attestation" or "fetch", or
// all of them.
func (s *Station) Verdicts(messages ...string) (all []Verdict, err error) {
	log, err := os.ReadFile(s.Path(Audit))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for line := range bytes.Lines(log) {
		var v Verdict
		if err := json.Unmarshal(line, &v); err != nil {
			return nil, fmt.Errorf("reading the audit log's line %q: %w", line, err)
		}
		if len(messages) == 0 || slices.Contains(messages, v.Message) {
			all = append(all, v)
		}
	}
	return all, nil
}
