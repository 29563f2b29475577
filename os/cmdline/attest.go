package cmdline

// The parameters of attestation.
const (
	AttestURLParam  = "ember.attest_url"
	AttestPinParam  = "ember.attest_pin"
	OverlayKeyParam = "ember.overlay_key"
)

// Attest is whom the machine proves to what it is, and whom it believes. The values are as they were given,
// the wrong ones too: one that was ignored would make a machine trust more than it was told to.
type Attest struct {
	URL         string   // AttestURLParam; "" for a machine that does not attest
	Pins        []string // AttestPinParam
	OverlayKeys []string // OverlayKeyParam
}

var attestParams = []Param{{
	Name: AttestURLParam,
	Type: "URL that begins with https://",
	Doc: "The attestation server. The workload starts once it has let the machine in and the machine has the " +
		"configuration that it gives, see [attestation](attestation.md).",
	set:    into(func(c *Config) *string { return &c.Attest.URL }, anything),
	secret: passwords,
}, {
	Name: AttestPinParam,
	Type: "list of sha256:BASE64 or 64 hexadecimal digits, separated by commas",
	Doc: "The SHA-256 of the server's key, or of the key of an authority above it, that its certificate must have. " +
		"Not used if the image has pins.",
	set: into(func(c *Config) *[]string { return &c.Attest.Pins }, listOf(anything)),
}, {
	Name: OverlayKeyParam,
	Type: "list of public keys as `emberctl keygen` prints them, separated by commas",
	Doc:  "Who may sign the configuration. Not used if the image has such keys.",
	set:  into(func(c *Config) *[]string { return &c.Attest.OverlayKeys }, listOf(anything)),
}}

func anything(value string) (string, error) { return value, nil }
