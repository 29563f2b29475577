package store

import (
	"context"
	"errors"
	"time"

	"github.com/ember-os/ember/attest/protocol"
)

// Verdict is a decision about a request in the name of a machine. Who has sent the request is not known by that:
// anybody who knows an endorsement key, which is no secret, can ask in its name, with a log and with PCRs of
// its own invention. Only a [Proof] is about the machine.
type Verdict struct {
	Node    string    `json:"node"`
	Time    time.Time `json:"time"`
	Address string    `json:"address"`
	// Code is Granted, or that of the refusal.
	Code string `json:"code"`
	// Reason is why it was refused, for people.
	Reason string `json:"reason,omitempty"`
	// Policy has let the machine in, or is the one that it came furthest with.
	Policy  string        `json:"policy,omitempty"`
	Tier    protocol.Tier `json:"tier,omitempty"`
	Overlay string        `json:"overlay,omitempty"`
	Version uint64        `json:"version,omitempty"` // of the overlay
	// Differs are PCRs that are not as Policy wants them.
	Differs []int `json:"differs,omitempty"`
	// Certificate is the serial number of the grant's.
	Certificate string `json:"certificate,omitempty"`
	// Claims are the asker's own words.
	Claims protocol.Claims `json:"claims"`
}

// Granted is the code of a grant.
const Granted = "ok"

// Proof is a grant that its machine has opened: it has used the certificate, whose key is in the TPM of its
// endorsement key. Nobody else can have a Proof written.
type Proof struct {
	Verdict
	Proved time.Time `json:"proved"` // when the certificate was used first
	// Reported, Stage, Since and Health are of the last report: when it came, the last stage, the time from the
	// start of the kernel to it, and the word for the node's health.
	Reported time.Time     `json:"reported"`
	Stage    string        `json:"stage,omitempty"`
	Since    time.Duration `json:"since,omitempty"`
	Health   string        `json:"health,omitempty"`
}

const (
	attested  = "attested/" // Verdict: the last grant, opened or not
	proven    = "proven/"   // Proof
	refused   = "refused/"  // Verdict: the last refusal of a machine that is known
	strangers = "stranger/" // the same, of others

	evidenceOfProof   = "evidence/proven/"
	evidenceOfRefusal = "evidence/refused/"

	// remembered is how long the last verdicts on a machine are.
	remembered = 400 * 24 * time.Hour
	// MaxStrangers is how many machines that nobody has enrolled, and that have never proved anything, have
	// their last refusal kept. It is kept as long as they would wait in the queue.
	MaxStrangers = 1000
)

// Last returns the last grant for a machine with its revision, for Attest. Without one the revision is 0.
func (r *Registry) Last(ctx context.Context, node string) (Verdict, uint64, error) {
	v, revision, err := get[Verdict](ctx, r.store, attested+node)
	if errors.Is(err, ErrNotFound) {
		return Verdict{}, 0, nil
	}
	return v, revision, err
}

// Attest notes a grant, if the last one is of that revision still; otherwise ErrConflict: the same EK was
// used twice at once. That the machine has opened it is not known.
func (r *Registry) Attest(ctx context.Context, v Verdict, revision uint64) error {
	return put(ctx, r.store, attested+v.Node, v, revision, remembered)
}

// Refuse notes a refusal. It takes the place of the refusal before and of nothing else, since it is the word of
// whoever asked. Known says that the machine is enrolled elsewhere than here. Of machines that are not known
// there are at most MaxStrangers, or a few more if several came at once; ErrFull for the others.
func (r *Registry) Refuse(ctx context.Context, v Verdict, e Evidence, known bool) error {
	if err := CheckNode(v.Node); err != nil {
		return err
	}
	key, life := refused+v.Node, remembered
	if !known {
		var err error
		if known, err = r.known(ctx, v.Node); err != nil {
			return err
		}
	}
	if !known {
		key, life = strangers+v.Node, waits
		if err := r.room(ctx, key); err != nil {
			return err
		}
	}
	if err := set(ctx, r.store, evidenceOfRefusal+v.Node, e, life); err != nil {
		return err
	}
	return set(ctx, r.store, key, v, life)
}

// known tells whether an operator has said something of a machine, or it has proved something.
func (r *Registry) known(ctx context.Context, node string) (bool, error) {
	for _, prefix := range []string{machines, proven} {
		if _, err := r.store.Get(ctx, prefix+node); !errors.Is(err, ErrNotFound) {
			return err == nil, err
		}
	}
	return false, nil
}

// room is ErrFull if there is none for another stranger.
func (r *Registry) room(ctx context.Context, key string) error {
	if _, err := r.store.Get(ctx, key); !errors.Is(err, ErrNotFound) {
		return err
	}
	others, err := r.store.List(ctx, strangers, "", MaxStrangers)
	if err == nil && len(others) >= MaxStrangers {
		err = ErrFull
	}
	return err
}

// Prove notes that a machine has opened a grant. An older grant than the last that was proved changes nothing,
// nor does the same one again.
func (r *Registry) Prove(ctx context.Context, v Verdict, e Evidence) error {
	if err := CheckNode(v.Node); err != nil {
		return err
	}
	for {
		old, revision, err := get[Proof](ctx, r.store, proven+v.Node)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if old.Certificate == v.Certificate && err == nil || old.Time.After(v.Time) {
			return nil
		}
		if err := set(ctx, r.store, evidenceOfProof+v.Node, e, remembered); err != nil {
			return err
		}
		err = put(ctx, r.store, proven+v.Node, Proof{Verdict: v, Proved: r.now().UTC()}, revision, remembered)
		if !errors.Is(err, ErrConflict) {
			return err
		}
	}
}
