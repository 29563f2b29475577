package station

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

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
}

// Verdicts are the lines of the audit log with a message, such as "attestation" or "fetch", until now.
func (s *Station) Verdicts(message string) (all []Verdict, err error) {
	log, err := os.ReadFile(s.Path(Audit))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for line := range bytes.Lines(log) {
		var v Verdict
		if err := json.Unmarshal(line, &v); err != nil {
			return nil, fmt.Errorf("reading the audit log's line %q: %w", line, err)
		}
		if v.Message == message {
			all = append(all, v)
		}
	}
	return all, nil
}
