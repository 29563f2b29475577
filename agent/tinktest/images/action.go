package images

import (
	"bytes"
	"maps"
	"slices"
)

// pattern is the line that WriteDisk repeats.
const pattern = "An action of a workflow wrote this.\n"

// actions are shell scripts by name.
var actions = map[string]string{
	WriteDisk: `[ -e "$DEST_DISK" ] || { echo "there is no disk '$DEST_DISK'" >&2; exit 1; }
yes "An action of a workflow wrote this." | head -c "${BYTES:-4194304}" |
	dd of="$DEST_DISK" bs=64k conv=notrunc,fsync || exit 1
echo "wrote to $DEST_DISK"`,
	Fetch:     `wget -q -T 30 -O - "$URL"`,
	FetchHost: `nsenter --net=/proc/1/ns/net wget -q -T 30 -O - "$URL"`,
	Say:       `echo "$TEXT"`,
	Await:     `until wget -q -T 5 -O /dev/null "$URL"; do sleep 1; done`,
	Fail:      `echo "${TEXT:-this action fails}" >&2; exit 3`,
}

// The actions, which are configured by environment variables.
const (
	// WriteDisk fills the first BYTES, or 4 MiB, of the disk DEST_DISK with Pattern.
	WriteDisk = "writedisk"
	// Fetch writes what is at URL to its output.
	Fetch = "fetch"
	// FetchHost is Fetch in the machine's own network. The agent's protocol has no network namespace
	// in it, so this is how an action gets there: with the PID namespace of the host.
	FetchHost = "fetchhost"
	// Say writes TEXT to its output.
	Say = "say"
	// Await ends as soon as something is at URL.
	Await = "await"
	// Fail writes TEXT to standard error and exits with status 3.
	Fail = "fail"
)

// ActionNames are the names of all actions.
func ActionNames() []string { return slices.Sorted(maps.Keys(actions)) }

// Action is the image of an action, made of a static busybox. Actions share their layer.
func Action(busybox []byte, action string) Image {
	return Image{
		Layers:     [][]File{{{Path: "bin/busybox", Data: busybox}, {Path: "bin/sh", Target: "busybox"}}},
		Entrypoint: []string{"/bin/busybox", "sh", "-c", prelude + actions[action]},
		Env:        []string{"PATH=/bin"},
	}
}

// prelude makes the shell find busybox's applets, which have no links.
const prelude = `busybox --install -s /bin
`

// Pattern is what WriteDisk writes.
func Pattern(bytesWritten int) []byte {
	return bytes.Repeat([]byte(pattern), bytesWritten/len(pattern)+1)[:bytesWritten]
}
