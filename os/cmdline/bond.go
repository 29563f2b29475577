package cmdline

// Bond is a link made of several.
type Bond struct {
	Name    string
	Members []string // link names, or MACs with dashes or colons
	Mode    string   // "active-backup" or "802.3ad"
	Options map[string]string
	MTU     int // 0 for the default
}
