package fetch

import (
	"bytes"
	"strings"
	"testing"
)

func TestCalls(t *testing.T) {
	for _, tt := range []struct {
		args   string
		status int
		stderr string
	}{
		{"", 2, "<3>ember-fetch: --out is missing\nusage: "},
		{"--out x", 2, "<3>ember-fetch: the image is missing\n"},
		{"--out x --have y z", 2, "<3>ember-fetch: --have \"y\": "},
		{"--wrong", 2, "<3>ember-fetch: flag provided but not defined: -wrong\n"},
		{"--out x A:B:C", 1, "<3>\"A:B:C\" is not the name of an image ("},
		{"--help", 0, ""},
	} {
		var stdout, stderr bytes.Buffer
		got := run(t.Context(), strings.Fields(tt.args), &stdout, &stderr)
		if got != tt.status || !strings.HasPrefix(stderr.String(), tt.stderr) || (stdout.Len() > 0) != (got == 0) {
			t.Errorf("%q: %d, %q, %q", tt.args, got, &stdout, &stderr)
		}
	}
}

func TestNormalize(t *testing.T) {
	const sum = "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for image, want := range map[string]string{
		"alpine":                   "docker.io/library/alpine:latest",
		"quay.io/x/y":              "quay.io/x/y:latest",
		"localhost:5000/y:1":       "localhost:5000/y:1",
		"ghcr.io/x/y:1" + sum:      "ghcr.io/x/y" + sum,
		"[2001:db8::1]:5000/x/y:1": "[2001:db8::1]:5000/x/y:1",
		"x/UPPER":                  "",
		"http://x/y":               "",
		"":                         "",
	} {
		if got, err := normalize(image); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", image, got, err)
		}
	}
}
