package protocol

import (
	"bytes"
	"encoding/base64"
)

// decodePlain reads a request as json.Marshal writes one, which is as Ember's machines do: fields in their order, no
// spaces, no escapes. It does so at the speed of base64, several times that of encoding/json, which has to look at
// each character. Of a request that is written otherwise it tells that it is not plain, and nothing else.
func decodePlain(b []byte) (*Request, bool) {
	r := &Request{Version: Version}
	p := plain{rest: b, ok: true}
	p.expect(`{"version":1`)
	if p.skip(`,"ekCertificates":`) {
		r.EKCertificates = p.list()
	}
	p.expect(`,"ek":`)
	r.EK = p.bytes()
	p.expect(`,"ak":`)
	r.AK = p.bytes()
	p.expect(`,"tlsKey":`)
	r.TLSKey = p.bytes()
	p.expect(`,"tlsKeyCertification":`)
	r.TLSKeyCertification = p.signed()
	p.expect(`,"hpkeKey":`)
	r.HPKEKey = p.bytes()
	p.expect(`,"quote":`)
	r.Quote = p.signed()
	p.expect(`,"pcrs":`)
	r.PCRs = p.list()
	for _, last := range []struct {
		name string
		to   *[]byte
	}{{`,"eventLog":`, &r.EventLog}, {`,"claims":`, &r.Claims}, {`,"nonce":`, &r.Nonce}} {
		if p.skip(last.name) {
			*last.to = p.bytes()
		}
	}
	p.expect("}")
	return r, p.ok && len(p.rest) == 0
}

// plain reads JSON without a choice in how it is written. After a surprise nothing that it reads counts.
type plain struct {
	rest []byte
	ok   bool
}

func (p *plain) skip(text string) (found bool) {
	p.rest, found = bytes.CutPrefix(p.rest, []byte(text))
	return found
}

func (p *plain) expect(text string) { p.ok = p.skip(text) && p.ok }

// bytes reads a string of base64.
func (p *plain) bytes() []byte {
	p.expect(`"`)
	text, rest, found := bytes.Cut(p.rest, []byte{'"'})
	p.rest = rest
	b := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(b, text)
	// The decoder passes over line ends, which strings of JSON do not have: then something is missing.
	padding := len(text) - len(bytes.TrimRight(text, "="))
	p.ok = p.ok && found && err == nil && len(text)%4 == 0 && n == len(b)-padding
	return b[:n]
}

func (p *plain) list() [][]byte {
	p.expect("[")
	list := [][]byte{p.bytes()}
	for p.ok && p.skip(",") {
		list = append(list, p.bytes())
	}
	p.expect("]")
	return list
}

func (p *plain) signed() (s Signed) {
	p.expect(`{"attest":`)
	s.Attest = p.bytes()
	p.expect(`,"signature":`)
	s.Signature = p.bytes()
	p.expect("}")
	return s
}
