package station

import (
	"os"
	"strings"
)

const configuration = `
listen: LISTEN
data: data
audit: AUDIT
binding: BINDING
enrolment: {vendors: vendors}
overlays: {folder: overlays, identity: keys/attestd.identity, keys: ["SIGNERS"], private: PRIVATE}
policies: [POLICY]
`

// Configure writes the configuration, which the server reads again if it runs.
func (s *Station) Configure() error {
	text, private := configuration, "false"
	if s.Binding == Connection {
		private = "true"
		text += "tls: {certificate: CERTIFICATE, key: KEY}\n"
	}
	if s.config.Page {
		text += "status: {listen: PAGE}\n"
	}
	text = strings.NewReplacer("LISTEN", s.listen, "AUDIT", Audit, "BINDING", s.Binding, "SIGNERS", strings.Join(s.Signers, `", "`),
		"PRIVATE", private, "POLICY", s.Policy, "CERTIFICATE", s.config.Certificate, "KEY", s.config.Key, "PAGE", s.listenPage).Replace(text)
	return os.WriteFile(s.Path(Configuration), []byte(text), 0o600)
}
