module github.com/ember-os/ember

go 1.26.0

require (
	github.com/bazelbuild/rules_go v0.63.0
	golang.org/x/sys v0.49.0
)

require github.com/google/go-tpm v0.9.8
