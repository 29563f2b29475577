package vectors

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
)

// This file reads what is in a request as the second implementation does: the TPM's structures and the event log.

// reader reads the TPM's numbers, big-endian, and the log's, little-endian. A structure that is cut short is an error
// in the end, and zero until then.
type reader struct {
	b   []byte
	err error
}

func (r *reader) take(n int) []byte {
	if r.err != nil || n < 0 || n > len(r.b) {
		r.err = errors.New("it is cut short")
		return make([]byte, max(0, min(n, 64)))
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) u16() int      { return int(binary.BigEndian.Uint16(r.take(2))) }
func (r *reader) u32() uint32   { return binary.BigEndian.Uint32(r.take(4)) }
func (r *reader) le16() int     { return int(binary.LittleEndian.Uint16(r.take(2))) }
func (r *reader) le32() int     { return int(binary.LittleEndian.Uint32(r.take(4))) }
func (r *reader) sized() []byte { return r.take(r.u16()) }

// end is the error of what was not read, or was not there.
func (r *reader) end() error {
	if r.err == nil && len(r.b) > 0 {
		return fmt.Errorf("%d bytes follow", len(r.b))
	}
	return r.err
}

const (
	algNull  = 0x10
	algECDSA = 0x18
	algECC   = 0x23
)

var curves = map[int]elliptic.Curve{3: elliptic.P256(), 4: elliptic.P384()}

// eccKey is a TPMT_PUBLIC of a key on a curve.
type eccKey struct {
	attributes uint32
	policy     []byte
	public     ecdsa.PublicKey
}

func readECC(b []byte) (k eccKey, err error) {
	r := &reader{b: b}
	if kind := r.u16(); kind != algECC {
		return k, fmt.Errorf("it is of type %#x", kind)
	}
	r.u16() // nameAlg
	k.attributes, k.policy = r.u32(), r.sized()
	if symmetric := r.u16(); symmetric != algNull {
		r.take(4) // its bits and mode
	}
	if scheme := r.u16(); scheme != algNull {
		r.u16() // its hash
	}
	k.public.Curve = curves[r.u16()]
	r.u16() // KDF
	k.public.X, k.public.Y = new(big.Int).SetBytes(r.sized()), new(big.Int).SetBytes(r.sized())
	return k, r.end()
}

// statement is a TPMS_ATTEST: a quote, or a certification.
type statement struct {
	magic     uint32
	kind      int
	extraData []byte
	first     []byte // of a quote the selection, of a certification the name
	second    []byte // of a quote the digest of the PCRs, of a certification the qualified name
}

const (
	generated   = 0xff544347 // TPM_GENERATED_VALUE
	kindQuote   = 0x8018
	kindCertify = 0x8017
)

func readStatement(b []byte) (s statement, err error) {
	r := &reader{b: b}
	s.magic, s.kind = r.u32(), r.u16()
	r.sized() // qualifiedSigner
	s.extraData = r.sized()
	r.take(17 + 8) // clockInfo, firmwareVersion
	if s.kind == kindQuote {
		s.first = r.take(4 + 2 + 1 + 3)
	} else {
		s.first = r.sized()
	}
	s.second = r.sized()
	return s, r.end()
}

// signed tells whether a TPMT_SIGNATURE of a TPMS_ATTEST is by a key.
func (k eccKey) signed(attest, signature []byte) (r, s []byte, err error) {
	in := &reader{b: signature}
	algorithm, hash := in.u16(), in.u16()
	r, s = in.sized(), in.sized()
	if err := in.end(); err != nil {
		return nil, nil, err
	}
	if algorithm != algECDSA || hash != sha256ID || !ecdsa.Verify(&k.public, sum(attest), new(big.Int).SetBytes(r), new(big.Int).SetBytes(s)) {
		return nil, nil, errors.New("it is not by this key")
	}
	return r, s, nil
}

// logged is an event of a log with SHA-256 digests.
type logged struct {
	PCR    int    `json:"pcr"`
	Type   int    `json:"type"`
	Digest octets `json:"digest"`
}

const noAction = 3 // EV_NO_ACTION, which is not extended

// readLog reads a crypto-agile log (TCG PC Client Platform Firmware Profile, 10.2) with SHA-256 alone.
func readLog(b []byte) (events []logged, err error) {
	r := &reader{b: b}
	r.take(4 + 4 + 20)
	r.take(r.le32()) // the first event, which lists the algorithms
	for r.err == nil && len(r.b) > 0 {
		e := logged{PCR: r.le32(), Type: r.le32()}
		if digests, algorithm := r.le32(), r.le16(); r.err == nil && (digests != 1 || algorithm != sha256ID) {
			return nil, errors.New("it has other digests too")
		}
		e.Digest = r.take(32)
		r.take(r.le32())
		events = append(events, e)
	}
	return events, r.end()
}

// replay gives the values that events make.
func replay(events []logged) map[int][]byte {
	values := make(map[int][]byte)
	for _, e := range events {
		if e.Type == noAction {
			continue
		}
		if values[e.PCR] == nil {
			values[e.PCR] = make([]byte, 32)
		}
		values[e.PCR] = sum(values[e.PCR], e.Digest)
	}
	return values
}
