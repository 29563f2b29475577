package crash

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Watchdogs is where the kernel shows the watchdogs.
const Watchdogs = "/sys/class/watchdog"

// Reset is why a watchdog's hardware says that the machine was reset.
type Reset struct {
	Watchdog string // its driver's name for it
	Causes   []string
}

func (r Reset) String() string {
	return strings.Join(r.Causes, ", ") + ", says watchdog " + r.Watchdog
}

// statusBits are those of linux/watchdog.h that are causes of a reset.
var statusBits = []struct {
	bit   uint64
	cause string
}{
	{0x20, "watchdog ran out"},
	{0x01, "processor too hot"},
	{0x02, "fan failed"},
	{0x10, "power failed"},
	{0x40, "voltage too high"},
	{0x04, "external relay 1"},
	{0x08, "external relay 2"},
}

// Resets asks all watchdogs in dir. Most do not remember anything.
func Resets(dir string) []Reset {
	devices, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var resets []Reset
	for _, d := range devices {
		status, _ := os.ReadFile(filepath.Join(dir, d.Name(), "bootstatus"))
		causes := decode(strings.TrimSpace(string(status)))
		if causes == nil {
			continue
		}
		identity, _ := os.ReadFile(filepath.Join(dir, d.Name(), "identity"))
		name := printable(strings.TrimSpace(string(identity)))
		if name == "" {
			name = d.Name()
		}
		resets = append(resets, Reset{name, causes})
	}
	return resets
}

func decode(status string) []string {
	bits, err := strconv.ParseUint(status, 10, 32)
	if err != nil {
		return nil
	}
	var causes []string
	for _, s := range statusBits {
		if bits&s.bit != 0 {
			causes = append(causes, s.cause)
		}
	}
	return causes
}
