//go:build never

// Package program names the programs of other modules that are built here.
package program

import (
	_ "github.com/containerd/containerd/v2/cmd/containerd"
	_ "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2"
	_ "github.com/containerd/containerd/v2/cmd/ctr"
	_ "github.com/containerd/nerdctl/v2/cmd/nerdctl"
)
