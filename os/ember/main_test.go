package main

import (
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	for _, tt := range []struct {
		args string
		want int
	}{
		{"ember", usageStatus},
		{"ember nonsense", usageStatus},
		{"ember help", 0},
		{"/usr/bin/ember --help", 0},
		{"ember -h", 0},
		{"ember version", 0},
		{"ember version x", usageStatus},
		{"ember init", 1},
		{"/init", 1},
		{"/sbin/init version", 1},
	} {
		if got := run(strings.Fields(tt.args), 2); got != tt.want {
			t.Errorf("%s: exit status %d, want %d", tt.args, got, tt.want)
		}
	}
}
