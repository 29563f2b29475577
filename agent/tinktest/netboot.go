package tinktest

import (
	"fmt"
	"strings"
)

// Netboot is what Tinkerbell's network-boot server tells a machine that it knows. The
// command line is that of Tinkerbell v0.23, word for word and in its order, with what
// is empty left empty and console given more than once.
type Netboot struct {
	MAC         string // with colons
	WorkerID    string // the MAC unless the hardware says otherwise
	VLAN        string // "" for none
	Facility    string // may hold "console=" words
	SyslogHost  string
	Authority   string // of Tinkerbell's server, HOST:PORT
	TLS         bool
	InsecureTLS bool
	Initrd      string   // the file's name
	Extra       []string // what the server's operator adds
}

// CommandLine is all of it.
func (n Netboot) CommandLine() string {
	var words []string
	if n.VLAN != "" {
		words = append(words, "vlan_id="+n.VLAN)
	}
	words = append(words,
		"facility="+n.Facility,
		"syslog_host="+n.SyslogHost,
		"grpc_authority="+n.Authority,
		fmt.Sprintf("tinkerbell_tls=%v", n.TLS),
		fmt.Sprintf("tinkerbell_insecure_tls=%v", n.InsecureTLS),
		"worker_id="+n.WorkerID,
		"hw_addr="+n.MAC,
		"modules=loop,squashfs,sd-mod,usb-storage", "intel_iommu=on", "iommu=pt",
		"initrd="+n.Initrd, "console=tty0", "console=ttyS1,115200")
	return strings.Join(append(words, n.Extra...), " ")
}
