package cmdline

import "strings"

// Tinkerbell's parameters, with its names.
const (
	WorkerImageParam        = "tink_worker_image"
	RegistryParam           = "docker_registry"
	RegistryUsernameParam   = "registry_username"
	RegistryPasswordParam   = "registry_password"
	InsecureRegistriesParam = "insecure_registries"
	GRPCAuthorityParam      = "grpc_authority"
	WorkerIDParam           = "worker_id"
	TLSParam                = "tinkerbell_tls"
	InsecureTLSParam        = "tinkerbell_insecure_tls"
	FacilityParam           = "facility"
)

// Tinkerbell is what its agent is told. What is not given is "" or false.
type Tinkerbell struct {
	WorkerImage        string // WorkerImageParam, which wins over Registry
	Registry           string // RegistryParam: host, perhaps port and path
	RegistryUsername   string
	RegistryPassword   string
	InsecureRegistries []string // hosts, perhaps with ports
	GRPCAuthority      string   // host, perhaps with a port
	WorkerID           string
	Facility           string
	TLS                bool
	InsecureTLS        bool // means nothing without TLS
}

var tinkerbellParams = []Param{{
	Name: WorkerImageParam,
	Type: "name of a container image",
	Doc:  "The image of Tinkerbell's agent. It wins over `docker_registry`.",
	set:  into(func(c *Config) *string { return &c.Tinkerbell.WorkerImage }, word),
}, {
	Name:   RegistryParam,
	Type:   "HOST, HOST:PORT or either with /PATH",
	Doc:    "The registry that the agent comes from, as the image tink-agent:latest.",
	set:    into(func(c *Config) *string { return &c.Tinkerbell.Registry }, registry),
	secret: passwords,
}, {
	Name: RegistryUsernameParam,
	Type: "text",
	Doc:  "The user's name for that registry.",
	set:  into(func(c *Config) *string { return &c.Tinkerbell.RegistryUsername }, text),
}, {
	Name: RegistryPasswordParam,
	Type: "text",
	Doc:  "The user's password for that registry. It is kept out of logs.",
	set: func(c *Config, value string) error {
		c.Tinkerbell.RegistryPassword = value
		return nil
	},
	secret: func(value string) []string { return []string{value} },
}, {
	Name: InsecureRegistriesParam,
	Type: "list of HOST or HOST:PORT, separated by commas",
	Doc:  "Registries that are reached with plain HTTP, but not by Tinkerbell's agent for its actions.",
	set:  into(func(c *Config) *[]string { return &c.Tinkerbell.InsecureRegistries }, listOf(authority)),
}, {
	Name: GRPCAuthorityParam,
	Type: "HOST:PORT",
	Doc:  "Tinkerbell's server.",
	set:  into(func(c *Config) *string { return &c.Tinkerbell.GRPCAuthority }, authority),
}, {
	Name: WorkerIDParam,
	Type: "word, most often a MAC address",
	Doc:  "The machine's name for Tinkerbell.",
	set:  into(func(c *Config) *string { return &c.Tinkerbell.WorkerID }, word),
}, {
	Name:    TLSParam,
	Type:    booleanType,
	Default: "false",
	Doc:     "The agent speaks TLS with the server.",
	set:     into(func(c *Config) *bool { return &c.Tinkerbell.TLS }, boolean),
}, {
	Name:    InsecureTLSParam,
	Type:    booleanType,
	Default: "false",
	Doc:     "With `tinkerbell_tls`: the agent does not check the server's certificate.",
	set:     into(func(c *Config) *bool { return &c.Tinkerbell.InsecureTLS }, boolean),
}, {
	Name: FacilityParam,
	Type: "text",
	Doc:  "Where the machine is, for Tinkerbell.",
	set:  into(func(c *Config) *string { return &c.Tinkerbell.Facility }, text),
}}

// registry accepts what may stand before the "/" and the name of an image.
func registry(value string) (string, error) {
	value = strings.TrimSuffix(value, "/")
	host, path, _ := strings.Cut(value, "/")
	if _, err := authority(host); err != nil || !isPlain(path) {
		return "", notA(value, "the address of a registry")
	}
	return value, nil
}
