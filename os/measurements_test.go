package os_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/google/go-attestation/attest"

	"github.com/ember-os/ember/attest/policy"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/tpm"
	"github.com/ember-os/ember/attest/verify"
	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/vm"
	"github.com/ember-os/ember/os/vm/vmtest"
	"github.com/ember-os/ember/tools/measurements"
)

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// predicted is what the build says of what virtual machines boot.
func predicted(t testing.TB) *policy.Build {
	t.Helper()
	build, err := policy.ParseBuild(readFile(t, vmtest.File(t, "VM_MEASUREMENTS")))
	if err != nil {
		t.Fatal(err)
	}
	return build
}

// predictedWith is that for a site that knows which iPXE its machines run.
func predictedWith(t testing.TB, loader []byte) *policy.Build {
	t.Helper()
	build, err := measurements.Predict(measurements.Content{
		Version: "test", Cmdline: vmCmdline, Loaders: [][]byte{loader},
		Kernel: readFile(t, vmtest.File(t, "KERNEL")), KernelName: "vmlinuz-x86_64",
		Initrd: readFile(t, vmtest.File(t, "INITRD")), InitrdName: "initramfs-x86_64",
		UKI: readFile(t, vmtest.File(t, "VM_UKI")), UKIName: ukiName,
	})
	if err != nil {
		t.Fatal(err)
	}
	return build
}

// recorded is what the machine's TPM and the log of its firmware say.
func recorded(t testing.TB, m *vmtest.Machine) *verify.Evidence {
	t.Helper()
	text, err := base64.StdEncoding.DecodeString(ask(t, m, "base64 -w 0 "+tpm.Log))
	if err != nil {
		t.Fatal(err)
	}
	log, err := attest.ParseEventLog(text)
	if err != nil {
		t.Fatal(err)
	}
	e := &verify.Evidence{Tier: protocol.Attested, PCRs: map[int][]byte{}, Explained: map[int]bool{}}
	const noAction = 3 // of which nothing is measured
	for _, event := range log.Events(attest.HashSHA256) {
		if uint32(event.Type) != noAction {
			e.Events = append(e.Events, verify.Event{PCR: event.Index, Type: uint32(event.Type), Digest: event.Digest})
		}
	}
	for _, pcr := range []int{4, 9, 11} {
		value, err := hex.DecodeString(ask(t, m, fmt.Sprintf("cat /sys/class/tpm/tpm0/pcr-sha256/%d", pcr)))
		if err != nil {
			t.Fatal(err)
		}
		replayed := make([]byte, sha256.Size)
		for _, event := range e.Events {
			if event.PCR == pcr {
				sum := sha256.Sum256(slices.Concat(replayed, event.Digest))
				replayed = sum[:]
			}
		}
		e.PCRs[pcr], e.Explained[pcr] = value, slices.Equal(value, replayed)
	}
	return e
}

// ways are those of a build by which a machine can have booted, as policies judge.
func ways(t testing.TB, build *policy.Build, e *verify.Evidence) (names []string) {
	t.Helper()
	for _, way := range build.Paths {
		policies, err := policy.Expand([]policy.Policy{{
			Name: way.Name, Tiers: []protocol.Tier{protocol.Attested},
			Measurements: policy.Measurements{Files: []string{"build.json"}, Paths: []string{way.Name}},
		}}, func(string) ([]byte, error) { return build.JSON() })
		if err != nil {
			t.Fatal(err)
		}
		set, err := policy.New(policies)
		if err != nil {
			t.Fatal(err)
		}
		if d := set.Decide(e); d.Allow {
			names = append(names, way.Name)
		} else {
			t.Logf("not by %s: %v", way.Name, d.Reasons)
		}
	}
	return names
}

// asPredicted compares what a machine has recorded with what was predicted, event by event, and as policies do,
// which take it for one that has booted in one of the ways given and in no other.
func asPredicted(t testing.TB, m *vmtest.Machine, build *policy.Build, want ...string) {
	t.Helper()
	e := recorded(t, m)
	way := build.Paths[slices.IndexFunc(build.Paths, func(p policy.Path) bool { return p.Name == want[0] })]
	next := map[int]int{} // by PCR, where its next event is looked for: there is an order within a PCR only
	for _, p := range way.Log {
		i := slices.IndexFunc(e.Events[next[p.PCR]:], func(e verify.Event) bool {
			return e.PCR == p.PCR && slices.Equal(e.Digest, p.Digest[:])
		})
		if i < 0 {
			t.Errorf("PCR %d has no %v, %s, or not in this place", p.PCR, p.Digest, p.What)
			continue
		}
		next[p.PCR] += i + 1
	}
	for pcr, value := range way.PCRs {
		if !slices.Equal(e.PCRs[pcr], value[0][:]) {
			t.Errorf("PCR %d is %x, not %v", pcr, e.PCRs[pcr], value[0])
		}
	}
	if got := ways(t, build, e); !slices.Equal(got, want) {
		t.Errorf("policies take the machine for one that has booted by %q, not %q", got, want)
	}
	if t.Failed() {
		for _, event := range e.Events {
			t.Logf("recorded: PCR %d, type %#x, %x", event.PCR, event.Type, event.Digest)
		}
	}
}

// TestDirectMeasurements has QEMU's firmware start a kernel that it is given.
func TestDirectMeasurements(t *testing.T) {
	t.Parallel()
	c := config(t)
	c.UEFI, c.TPM, c.Append = true, vm.CRB, "ember.debug=shell retain_initrd"
	m := vmtest.Start(t, c)
	cameUp(t, m, vmCmdline+" initrd=initrd")
	asPredicted(t, m, predicted(t), measurements.Direct, measurements.AnyCmdline)
}

// TestAttestMeasurements has a server that takes machines with one of two builds, of which this machine has the
// second.
func TestAttestMeasurements(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.seal(greeting(s.lab.CA())...)
	build := readFile(t, vmtest.File(t, "VM_MEASUREMENTS"))
	s.write("now.json", string(build))
	old := predicted(t)
	for _, way := range old.Paths {
		for pcr, conditions := range way.Events {
			conditions.Require = policy.Digests{{1}}
			conditions.Only = nil
			way.Events[pcr] = conditions
		}
	}
	text, err := old.JSON()
	if err != nil {
		t.Fatal(err)
	}
	s.write("before.json", string(text))
	s.Policy = "{name: ours, tiers: [attested], measurements: {files: [before.json, now.json], paths: [any-cmdline]}, overlay: " + rack + "}"
	s.start()
	c := s.machine(vm.CRB)
	c.UEFI = true
	await(vmtest.Start(t, c), stage.Attest)
	if v := s.last(); v.Policy != "ours/now/any-cmdline" || len(s.verdicts()) != 1 {
		t.Errorf("the server's log has %+v", s.verdicts())
	}
}
