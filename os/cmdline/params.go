package cmdline

// prefix is of the parameters that are Ember's own. All others keep the names that
// they have elsewhere.
const prefix = "ember."

// Param describes one parameter. The fields with capital letters are its
// documentation.
type Param struct {
	Name    string
	Type    string // what a value looks like, for people
	Default string // as it would be written; "" for none
	Doc     string
	Repeats bool // every occurrence counts, not the last one only

	// set takes a value that is not empty into the configuration, which an error
	// leaves as it was. The parameter is only documented if it is nil.
	set func(c *Config, value string) error
	// secret gives the parts of any value, good or bad, that no log may show; nil
	// if there are none.
	secret func(value string) []string
}

// Group is the parameters of one subject.
type Group struct {
	Name   string
	Doc    string // Markdown, behind the list of parameters
	Params []Param
}

// Groups is every parameter that Ember reads, and those that it is sent and does
// not need, in the order in which Parse takes them: of two for the same field the
// second wins.
var Groups = []Group{
	{Name: "The system", Params: systemParams},
	{Name: "Network", Doc: networkDoc, Params: networkParams},
	{Name: "Proxies", Params: proxyParams},
	{Name: "Time", Params: timeParams},
	{Name: "Logs", Params: syslogParams},
	{Name: "Attestation", Params: attestParams},
	{Name: "Last-known-good", Params: lkgParams},
	{Name: "Containers", Params: containerParams},
	{Name: "Tinkerbell", Params: tinkerbellParams},
	{Name: "The kernel's own", Params: kernelParams},
}

var params = flatten(Groups)

func flatten(groups []Group) []Param {
	var all []Param
	for _, g := range groups {
		all = append(all, g.Params...)
	}
	return all
}

// into makes a set function of a field and the parser of its values.
func into[S, T any](field func(*S) *T, parse func(string) (T, error)) func(*S, string) error {
	return func(s *S, value string) error {
		v, err := parse(value)
		if err != nil {
			return err
		}
		*field(s) = v
		return nil
	}
}
