package tinktest

import "testing"

func TestNetboot(t *testing.T) {
	n := Netboot{
		MAC: "52:54:00:00:00:01", WorkerID: "worker", VLAN: "16", Facility: "onprem", SyslogHost: "10.0.1.1",
		Authority: "10.0.1.1:42113", Initrd: "initramfs-x86_64", Extra: []string{"tink_worker_image=10.0.1.1:5000/agent:v1"},
	}
	bare := Netboot{MAC: n.MAC, WorkerID: n.MAC, Authority: n.Authority, TLS: true, Initrd: n.Initrd}
	const mac = "52:54:00:00:00:01"
	for _, test := range []struct{ name, got, want string }{
		{"known", n.CommandLine(), "vlan_id=16 facility=onprem syslog_host=10.0.1.1 grpc_authority=10.0.1.1:42113 tinkerbell_tls=false " +
			"tinkerbell_insecure_tls=false worker_id=worker hw_addr=" + mac + " modules=loop,squashfs,sd-mod,usb-storage intel_iommu=on " +
			"iommu=pt initrd=initramfs-x86_64 console=tty0 console=ttyS1,115200 tink_worker_image=10.0.1.1:5000/agent:v1"},
		{"bare", bare.CommandLine(), "facility= syslog_host= grpc_authority=10.0.1.1:42113 tinkerbell_tls=true tinkerbell_insecure_tls=false " +
			"worker_id=" + mac + " hw_addr=" + mac + " modules=loop,squashfs,sd-mod,usb-storage intel_iommu=on iommu=pt " +
			"initrd=initramfs-x86_64 console=tty0 console=ttyS1,115200"},
	} {
		if test.got != test.want {
			t.Errorf("%s:\n%s\nnot\n%s", test.name, test.got, test.want)
		}
	}
}
