package verify

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/google/go-attestation/attest"

	"github.com/ember-os/ember/attest/protocol"
)

// firmwarePCRs are those that firmware extends and logs on every machine that has a log; nothing else does.
const firmwarePCRs = 8

// checkLog finds what the quoted values are made of.
//
// There may be no log. One that is there must explain every firmware PCR, and every PCR of which it has an
// event. Log or none, PCR 11 must be explained, and not by a cap: who runs after the cap cannot take it back,
// and no log that explains such a value can leave it out, because it is a chain of hashes.
func checkLog(e *Evidence, in *request, _ Options) *Refusal {
	var problem *Refusal
	if len(in.EventLog) > 0 {
		var log *attest.EventLog
		if log, problem = parseLog(in.EventLog); problem == nil {
			problem = e.replay(log)
		}
		if problem != nil && problem.Code != LogReplay && problem.Code != LogIncomplete {
			return problem
		}
		if log != nil && capped(log.Events(attest.HashSHA256), e.PCRs[protocol.CapPCR]) {
			return cappedRefusal()
		}
		if problem != nil {
			return problem
		}
	} else if capped(nil, e.PCRs[protocol.CapPCR]) {
		return cappedRefusal()
	}
	logged := map[int]bool{}
	for _, event := range e.Events {
		logged[event.PCR] = true
	}
	for _, pcr := range protocol.QuotedPCRs {
		e.Explained[pcr] = logged[pcr] || bytes.Equal(e.PCRs[pcr], make([]byte, sha256.Size))
		must := pcr == protocol.CapPCR || len(in.EventLog) > 0 && (pcr < firmwarePCRs || len(e.Events) == 0)
		if must && !e.Explained[pcr] {
			return refuse(LogIncomplete, "PCR %d is not zero, and the log has no event of it", pcr)
		}
	}
	return nil
}

const (
	// eventHeader is the size of the first event's header: PCR, type, SHA-1, size, little-endian.
	eventHeader = 4 + 4 + 20 + 4
	// maxFirst is the largest data of the first event, which lists the algorithms of all digests: each digest is
	// looked for in that list, so it must not be long.
	maxFirst = 512
)

func parseLog(b []byte) (*attest.EventLog, *Refusal) {
	if len(b) > protocol.MaxLog {
		return nil, refuse(LogTooLarge, "the event log has more than %d bytes", protocol.MaxLog)
	}
	if len(b) < eventHeader || binary.LittleEndian.Uint32(b[eventHeader-4:]) > maxFirst {
		return nil, refuse(LogMalformed, "the event log does not begin as it must")
	}
	log, err := attest.ParseEventLog(b)
	if err != nil {
		return nil, refuse(LogMalformed, "the event log cannot be read: %v", err)
	}
	if !slices.Contains(log.Algs, attest.HashSHA256) {
		return nil, refuse(LogAlgorithm, "the event log has no SHA-256 digests")
	}
	return log, nil
}

// replay fills Events, in which every PCR has the quoted value.
func (e *Evidence) replay(log *attest.EventLog) *Refusal {
	var pcrs []attest.PCR
	for _, pcr := range protocol.QuotedPCRs {
		pcrs = append(pcrs, attest.PCR{Index: pcr, Digest: e.PCRs[pcr], DigestAlg: crypto.SHA256})
	}
	events, err := log.Verify(pcrs)
	if replay, ok := errors.AsType[attest.ReplayError](err); ok {
		return refuse(LogReplay, "the event log makes other values of the PCRs %v than the quoted ones", replay.InvalidPCRs)
	} else if err != nil {
		return refuse(LogMalformed, "the event log cannot be replayed: %v", err)
	}
	for _, event := range events {
		v := Event{PCR: event.Index, Type: uint32(event.Type), Digest: event.Digest}
		if sum := sha256.Sum256(event.Data); bytes.Equal(sum[:], event.Digest) {
			v.Data = event.Data
		}
		e.Events = append(e.Events, v)
	}
	return nil
}

const noAction = 3 // EV_NO_ACTION, of which nothing is measured

// maxCaps is how many caps are looked for: a client that does not know whether it has capped does it again.
const maxCaps = 64

// capped tells whether value is made by events that have a cap among them, or by events and caps after them.
func capped(events []attest.Event, value []byte) bool {
	end := sha256.Sum256([]byte(protocol.CapEvent))
	now := make([]byte, sha256.Size)
	extend := func(digest []byte) {
		sum := sha256.Sum256(slices.Concat(now, digest))
		now = sum[:]
	}
	for _, event := range events {
		if event.Index != protocol.CapPCR || event.Type == noAction {
			continue
		}
		if bytes.Equal(event.Digest, end[:]) {
			return true
		}
		extend(event.Digest)
	}
	for range maxCaps {
		extend(end[:])
		if bytes.Equal(now, value) {
			return true
		}
	}
	return false
}

func cappedRefusal() *Refusal {
	return refuse(Capped, "this boot has been attested and is over: reboot the machine")
}
