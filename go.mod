module github.com/ember-os/ember

go 1.26.0

require (
	github.com/bazelbuild/buildtools v0.0.0-20260904073137-eaa4d125b423
	github.com/bazelbuild/rules_go v0.64.2
	github.com/cavaliergopher/cpio v1.0.1
	github.com/google/go-tpm v0.9.8
	github.com/klauspost/compress v1.20.3
	github.com/package-url/packageurl-go v0.1.6
	github.com/spdx/tools-golang v0.5.7
	golang.org/x/mod v0.42.0
	golang.org/x/sys v0.49.0
)

require github.com/anchore/go-struct-converter v0.1.0 // indirect
