// Command program is containerd, ctr and nerdctl in one file, because each by itself carries
// containerd's client, gRPC and Go's runtime. It is the program that its name says.
//
// The file is to be named nerdctl and the other names to be links: nerdctl starts itself again by the
// path that /proc/self/exe names.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"

	_ "github.com/containerd/containerd/v2/cmd/containerd/builtins"
	"github.com/containerd/containerd/v2/cmd/containerd/command"
	"github.com/containerd/containerd/v2/cmd/ctr/app"
	containerdversion "github.com/containerd/containerd/v2/version"
	nerdctlversion "github.com/containerd/nerdctl/v2/pkg/version"

	"github.com/ember-os/ember/image/packages/containerd/program/nerdctl"
)

// programs take the arguments without the name and return the exit status.
var programs = map[string]func(args []string) int{
	"containerd": func([]string) int { return status("containerd", command.App().Run(os.Args)) },
	"ctr":        func([]string) int { return status("ctr", app.New().Run(os.Args)) },
	"nerdctl":    func([]string) int { return status("nerdctl", nerdctl.Run(context.Background())) },
}

func main() {
	name := filepath.Base(os.Args[0])
	run, ok := programs[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "%s: this is containerd, ctr and nerdctl: call it by one of those names\n", name)
		os.Exit(2)
	}
	stampVersions()
	os.Exit(run(os.Args[1:]))
}

func status(name string, err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
	return 1
}

// stampVersions sets what the programs say of themselves, for which their own builds use the linker.
func stampVersions() {
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return
	}
	for _, m := range build.Deps {
		switch m.Path {
		case "github.com/containerd/containerd/v2":
			containerdversion.Version = m.Version
		case "github.com/containerd/nerdctl/v2":
			nerdctlversion.Version = m.Version
		}
	}
}
