package server

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net/http"
	"time"

	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/store"
)

const (
	// nonceLife is how long a challenge can be answered.
	nonceLife = time.Minute
	// nonceSkew is how far the clocks of servers that share a store may be apart.
	nonceSkew  = 10 * time.Second
	nonceLabel = "ember-attestd challenge v1"
)

// nonces are those of challenges. A nonce is its time in seconds since 1970, 8 bytes, 8 random bytes, and the
// first half of an HMAC over them. So nothing is kept of a challenge that nobody answers, and all servers with
// the same store know each other's; what is kept, until nobody would accept it any more, is a nonce that was
// used.
type nonces struct {
	key      []byte
	registry *store.Registry
}

const stamped = 16 // bytes under the HMAC

func (n *nonces) mac(b []byte) []byte {
	h := hmac.New(sha256.New, n.key)
	h.Write([]byte(nonceLabel))
	h.Write(b)
	return h.Sum(nil)[:protocol.NonceSize-stamped]
}

func (n *nonces) issue(now time.Time) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(now.Unix()))
	b = append(b, make([]byte, stamped-len(b))...)
	rand.Read(b[8:])
	return append(b, n.mac(b)...)
}

// check tells whether a nonce is ours and not too old.
func (n *nonces) check(b []byte, now time.Time) error {
	if len(b) != protocol.NonceSize || !hmac.Equal(n.mac(b[:stamped]), b[stamped:]) {
		return &refusal{status: http.StatusForbidden, code: CodeNonceUnknown, message: "the nonce is not this server's"}
	}
	age := now.Sub(time.Unix(int64(binary.BigEndian.Uint64(b)), 0))
	if age < -nonceSkew || age > nonceLife {
		return &refusal{status: http.StatusPreconditionRequired, code: CodeNonceExpired, message: "the nonce is too old"}
	}
	return nil
}

// use uses up a nonce that was checked.
func (n *nonces) use(ctx context.Context, b []byte) error {
	err := n.registry.UseNonce(ctx, b, nonceLife+2*nonceSkew)
	if errors.Is(err, store.ErrUsed) {
		return &refusal{status: http.StatusForbidden, code: CodeNonceUsed, message: "the nonce has been used before"}
	}
	return err
}
