//go:build never

// Package program names the program of another module that is built here.
package program

import _ "github.com/opencontainers/runc"
