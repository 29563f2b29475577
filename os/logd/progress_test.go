package logd

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/os/logline"
	"github.com/ember-os/ember/os/logs"
	"github.com/ember-os/ember/os/syslog"
)

func TestResume(t *testing.T) {
	dir := t.TempDir()
	store, err := logs.NewStore(dir, logs.Limit)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []logs.Entry{
		{Unit: "a.service", Boot: 1e9, Line: logline.Parse("<3>a1")}, {Unit: "a.service", Boot: 3e9, Line: logline.Parse("a3")},
		{Unit: logs.Kernel, Boot: 2e9, Line: logline.Parse("k2")}, {Unit: logs.Init, Boot: 2e9, Line: logline.Parse("i2")},
	} {
		if err := store.Append(e); err != nil {
			t.Fatal(err)
		}
	}
	left := func() string {
		t.Helper()
		var sender syslog.Sender
		messages, err := resume(&sender, dir)
		if err != nil {
			t.Error(err)
		}
		var texts []string
		for _, m := range messages {
			texts = append(texts, m.Text)
			if m.Boot <= 2*time.Second {
				sender.Arrived(m)
				sender.Arrived(syslog.Message{App: m.App}) // what is older does not count
			}
		}
		return fmt.Sprint(texts)
	}
	if got := left(); got != "[a1 i2 k2 a3]" {
		t.Errorf("of a first daemon %s is left", got)
	}
	if text, err := os.ReadFile(filepath.Join(dir, progressName)); !strings.HasPrefix(string(text), `{"a":1000000000`) {
		t.Errorf("written down is %q, %v", text, err)
	}
	if err := os.WriteFile(filepath.Join(dir, progressName), []byte(`{"a":3000000000,"kernel":2000000001}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := left(); got != "[i2 a3]" {
		t.Errorf("of a daemon that crashed %s is left", got)
	}
	if err := os.WriteFile(filepath.Join(dir, progressName), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	var sender syslog.Sender
	if got, err := resume(&sender, dir); len(got) != 4 || err == nil {
		t.Errorf("without a progress that can be read %v is left, %v", got, err)
	}
}
