//go:build never

package main

// The shim is built from this module too, as a program of its own: with containerd it would share one
// registry of plugins, and neither works so.
import _ "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2"
