package tinktest

import (
	"fmt"
	"strings"
)

// Netboot is what Tinkerbell's network-boot server tells a machine. Its command
// lines are those of Tinkerbell v0.23, word for word and in its order, with
// what is empty left empty and console given more than once.
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

// CommandLine is what a machine gets that the server knows.
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

// Static is what a machine gets that the server does not know.
func (n Netboot) Static() string {
	words := []string{
		"syslog_host=" + n.SyslogHost,
		"grpc_authority=" + n.Authority,
		fmt.Sprintf("tinkerbell_tls=%v", n.TLS),
		"worker_id=" + n.MAC,
		"hw_addr=" + n.MAC,
		"console=tty1", "console=tty2", "console=ttyAMA0,115200", "console=ttyAMA1,115200",
		"console=ttyS0,115200", "console=ttyS1,115200", "intel_iommu=on", "iommu=pt",
	}
	words = append(words, n.Extra...)
	return strings.Join(append(words, "initrd="+n.Initrd), " ")
}

// ISO is what the server writes into an ISO's grub.cfg. The ipam is the value of
// the parameter, "" for none.
func (n Netboot) ISO(ipam string) string {
	const consoles = "console=ttyAMA0 console=ttyS0 console=tty0 console=tty1 console=ttyS1"
	var words []string
	if n.Facility != "" {
		words = append(words, "facility="+n.Facility)
	}
	if !strings.Contains(n.Facility, "console=") {
		words = append(words, consoles)
	}
	if n.VLAN != "" {
		words = append(words, "vlan_id="+n.VLAN)
	}
	words = append(words,
		"hw_addr="+n.MAC,
		"syslog_host="+n.SyslogHost,
		"grpc_authority="+n.Authority,
		fmt.Sprintf("tinkerbell_tls=%v", n.TLS),
		"worker_id="+n.MAC)
	words = append(words, n.Extra...)
	if ipam != "" {
		words = append(words, "ipam="+ipam)
	}
	return strings.Join(words, " ")
}
