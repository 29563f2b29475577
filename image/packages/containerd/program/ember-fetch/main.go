// Command ember-fetch takes a program out of an image: see package fetch.
package main

import (
	"os"

	"github.com/ember-os/ember/image/packages/containerd/program/fetch"
)

func main() {
	os.Exit(fetch.Main(os.Args[1:]))
}
