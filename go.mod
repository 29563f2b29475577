module github.com/ember-os/ember

go 1.26.0

require (
	github.com/cavaliergopher/cpio v1.0.1
	github.com/klauspost/compress v1.20.3
	golang.org/x/sys v0.49.0
)
