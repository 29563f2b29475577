package hardware

import (
	"strconv"
	"strings"
)

func (t tree) cpu() CPU {
	const cpus = "sys/devices/system/cpu"
	var c CPU
	sockets, cores := map[string]bool{}, map[string]bool{}
	for _, name := range t.list(cpus) {
		number, ok := strings.CutPrefix(name, "cpu")
		if _, err := strconv.Atoi(number); !ok || err != nil || !t.exists(cpus, name, "topology") { // offline
			continue
		}
		c.Threads++
		sockets[t.text(cpus, name, "topology/physical_package_id")] = true
		cores[t.text(cpus, name, "topology/core_cpus_list")] = true
	}
	c.Sockets, c.Cores = len(sockets), len(cores)
	info := string(t.bytes("proc/cpuinfo"))
	c.Model = cpuinfo(info, "model name")
	if part := cpuinfo(info, "CPU part"); c.Model == "" && part != "" { // arm64 has numbers only
		c.Model = "implementer " + cpuinfo(info, "CPU implementer") + " part " + part
	}
	return c
}

// cpuinfo is the first value of a field in /proc/cpuinfo and files of its form.
func cpuinfo(info, field string) string {
	for line := range strings.Lines(info) {
		name, value, ok := strings.Cut(line, ":")
		if ok && strings.TrimSpace(name) == field {
			return clean(value)
		}
	}
	return ""
}

func parseUint(s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
