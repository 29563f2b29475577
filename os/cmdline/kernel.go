package cmdline

import "strings"

// The kernel's own parameters that Ember reads too, and those that its users find
// on the command lines of other systems.
const (
	ConsoleParam    = "console"
	PanicParam      = "panic"
	ModulesParam    = "modules"
	InitrdParam     = "initrd"
	IntelIOMMUParam = "intel_iommu"
	IOMMUParam      = "iommu"
)

// Console is one value of ConsoleParam.
type Console struct {
	Device  string // a name below /dev, of most kinds
	Options string // what is behind the comma; for a serial line its speed and format
}

var kernelParams = []Param{{
	Name:    ConsoleParam,
	Type:    "device name, then options behind a comma",
	Repeats: true,
	Doc: "Ember writes to every console that is named, to those the kernel chose by itself, and to the serial lines of `ember.serial`. " +
		"The options of a serial line are its speed, parity (n, o or e), bits (7 or 8) and flow control (r or nothing), such as `115200n8`.",
	set: func(c *Config, value string) error {
		device, options, _ := strings.Cut(value, ",")
		c.Consoles = append(c.Consoles, Console{device, options})
		return nil
	},
}, {
	Name: PanicParam,
	Type: "number of seconds",
	Doc:  "Without it Ember has the kernel reboot 10 s after a kernel panic.",
	set: func(c *Config, _ string) error {
		c.KernelPanic = true
		return nil
	},
}, {
	Name: ModulesParam,
	Type: "list of names, separated by commas",
	Doc:  "Tinkerbell sends it. Ember does not read it: its kernel has no modules, the drivers are part of it.",
}, {
	Name: InitrdParam,
	Type: "file name",
	Doc:  "For the kernel's EFI stub and boot loaders. Ember does not read it.",
}, {
	Name: IntelIOMMUParam,
	Type: "on, off and more, see the kernel's documentation",
	Doc:  "Ember does not read it.",
}, {
	Name: IOMMUParam,
	Type: "pt, off and more, see the kernel's documentation",
	Doc:  "Ember does not read it.",
}}
