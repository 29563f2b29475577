package crash

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/os/logline"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// store makes a persistent store. A file is stored a second after noon for every
// second that its name ends with: "dmesg-efi_pstore-3".
func store(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		seconds, err := strconv.Atoi(name[strings.LastIndexByte(name, '-')+1:])
		if err != nil {
			t.Fatal(err)
		}
		at := noon.Add(time.Duration(seconds) * time.Second)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestRead(t *testing.T) {
	line := func(s logline.Severity, text string) logline.Line { return logline.Line{Severity: s, Text: text} }
	for name, tt := range map[string]struct {
		files map[string]string
		want  Dump
	}{
		"parts": {
			map[string]string{
				"dmesg-efi_pstore-3": "Panic#2 Part1\n<0>[   12.500000] Kernel panic - not syncing: Fatal exception\n",
				"dmesg-efi_pstore-4": "Panic#2 Part2\n<1>[   12.400000] BUG: kernel NULL pointer dereference, address: 0000000000000008\n<4>[   12.450000] Call Trace:\n",
				"dmesg-efi_pstore-5": "Panic#2 Part3\n<30>[   12.300000] systemd: \x1b[1mhello\n",
				"dmesg-efi_pstore-1": "Oops#1 Part1\n<4>[   12.450000] Call Trace:\n",
				"dmesg-efi_pstore-2": "Oops#1 Part2\n<4>[   12.450000] more\n",
				"pmsg-ramoops-9":     "not ours",
			},
			Dump{
				Reason: "Panic", Time: noon.Add(5 * time.Second), Older: 1,
				Summary: "BUG: kernel NULL pointer dereference, address: 0000000000000008",
				Tail: []logline.Line{
					line(logline.Info, "[   12.300000] systemd: ?[1mhello"),
					line(logline.Alert, "[   12.400000] BUG: kernel NULL pointer dereference, address: 0000000000000008"),
					line(logline.Warning, "[   12.450000] Call Trace:"),
					line(logline.Emergency, "[   12.500000] Kernel panic - not syncing: Fatal exception"),
				},
			},
		},
		"same number in another boot": {
			map[string]string{
				"dmesg-erst-7200": "Panic#1 Part1\n<0>Kernel panic - not syncing: sysrq triggered crash\n",
				"dmesg-erst-0":    "Panic#1 Part1\n<0>Kernel panic - not syncing: older\n",
			},
			Dump{Reason: "Panic", Time: noon.Add(2 * time.Hour), Older: 1, Summary: "Kernel panic - not syncing: sysrq triggered crash",
				Tail: []logline.Line{line(logline.Emergency, "Kernel panic - not syncing: sysrq triggered crash")}},
		},
		"a machine that crashes again and again": {
			map[string]string{
				"dmesg-erst-30": "Panic#1 Part1\n<0>Kernel panic - not syncing: third\n",
				"dmesg-erst-31": "Panic#1 Part2\n<6>third boot\n",
				"dmesg-erst-15": "Panic#1 Part1\n<0>Kernel panic - not syncing: second\n",
				"dmesg-efi-15":  "Panic#1 Part2\n<6>second boot\n",
				"dmesg-pmem-16": "Panic#1 Part3\n<6>long ago\n",
				"dmesg-erst-0":  "Panic#1 Part1\n<0>Kernel panic - not syncing: first\n",
				"dmesg-erst-1":  "Panic#1 Part2\n<6>first boot\n",
			},
			Dump{Reason: "Panic", Time: noon.Add(31 * time.Second), Older: 2, Summary: "Kernel panic - not syncing: third",
				Tail: []logline.Line{line(logline.Info, "third boot"), line(logline.Emergency, "Kernel panic - not syncing: third")}},
		},
		"both in one second": {
			map[string]string{
				"dmesg-a-0": "Oops#1 Part1\n",
				"dmesg-b-0": "Panic#2 Part1\nno severity\n",
				"dmesg-c-0": "\x1f\x8b nonsense",
				"dmesg-d-1": "Shutdown#3 Part1\n<6>no crash\n",
			},
			Dump{Reason: "Panic", Time: noon, Older: 1, Tail: []logline.Line{line(logline.Info, "no severity")}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := store(t, tt.files)
			got, err := Read(dir)
			if err != nil {
				t.Fatal(err)
			}
			clear := *got
			got.files = nil
			if !reflect.DeepEqual(*got, tt.want) {
				t.Errorf("got  %+v\nwant %+v", *got, tt.want)
			}
			if err := clear.Clear(); err != nil {
				t.Error(err)
			}
			if d, err := Read(dir); d != nil || err != nil {
				t.Errorf("after clearing: %+v, %v", d, err)
			}
			if err := clear.Clear(); err != nil {
				t.Errorf("clearing again: %v", err)
			}
		})
	}
}

func TestTail(t *testing.T) {
	var text strings.Builder
	text.WriteString("Panic#1 Part1\n")
	for i := range 3 * TailLines {
		fmt.Fprintf(&text, "<6>line %d\n", i)
	}
	d, err := Read(store(t, map[string]string{"dmesg-ramoops-0": text.String()}))
	if err != nil || len(d.Tail) != TailLines || d.Tail[TailLines-1].Text != fmt.Sprint("line ", 3*TailLines-1) {
		t.Errorf("got %+v, %v", d, err)
	}
}

func TestUnreadable(t *testing.T) {
	dir := store(t, map[string]string{"dmesg-efi_pstore-1": "\x78\x9c"})
	d, err := Read(dir)
	if d == nil || err == nil {
		t.Fatalf("got %+v, %v", d, err)
	}
	if err := d.Clear(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "dmesg-efi_pstore-1")); !os.IsNotExist(err) {
		t.Errorf("after clearing: %v", err)
	}
	if d, err := Read(filepath.Join(dir, "absent")); d != nil || err != nil {
		t.Errorf("without a store: %+v, %v", d, err)
	}
}

func TestResets(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"watchdog0/bootstatus": "0\n", "watchdog0/identity": "Software Watchdog\n",
		"watchdog1/bootstatus": "33\n", "watchdog1/identity": "iTCO_wdt\n",
		"watchdog2/bootstatus": "4294967295\n",
		"watchdog3/bootstatus": "-1\n",
		"watchdog4/identity":   "no status\n",
		"watchdog5/bootstatus": "33152\n", // settings, no causes
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := []Reset{
		{"iTCO_wdt", []string{"watchdog ran out", "processor too hot"}},
		{"watchdog2", []string{"watchdog ran out", "processor too hot", "fan failed", "power failed", "voltage too high",
			"external relay 1", "external relay 2"}},
	}
	got := Resets(dir)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if s := got[0].String(); s != "watchdog ran out, processor too hot, says watchdog iTCO_wdt" {
		t.Error(s)
	}
	if r := Resets(filepath.Join(dir, "absent")); r != nil {
		t.Errorf("without watchdogs: %v", r)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, s := range []string{"", "Panic#1 Part1", "Panic\n", "Panic#1\n", "#1 Part1\n", "Panic#x Part1\n", "Panic#1 Part-1\n",
		"Panic#-1 Part1\n", "Pa\x00nic#1 Part1\n"} {
		if h, _, ok := parse(s); ok {
			t.Errorf("%q is %+v", s, h)
		}
	}
}

func TestSummary(t *testing.T) {
	for _, tt := range []struct{ lines, want string }{
		{"hello", ""},
		{"[ 1.0] BUG: Bad page state\n[ 2.0] Kernel panic - not syncing: Attempted to kill init!", "Kernel panic - not syncing: Attempted to kill init!"},
		{"[ 1.0] BUG: a\n[ 2.0] BUG: b\n[ 3.0] Kernel panic - not syncing: Fatal exception in interrupt", "BUG: b"},
		{"[ 3.0] Kernel panic - not syncing: Fatal exception", "Kernel panic - not syncing: Fatal exception"},
		{"kernel BUG at fs/inode.c:1!\n[cut here", "kernel BUG at fs/inode.c:1!"},
	} {
		var lines []logline.Line
		for text := range strings.Lines(tt.lines) {
			lines = append(lines, record(text))
		}
		if got := summary(lines); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.lines, got, tt.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("Panic#2 Part1\n<0>[   12.500000] Kernel panic - not syncing: Fatal exception\n")
	f.Add("Oops#1 Part12\n<30>a\x1b[1m\n\n<7>")
	f.Fuzz(func(t *testing.T, s string) {
		h, text, ok := parse(s)
		if !ok {
			return
		}
		written := fmt.Sprintf("%s#%d Part%d\n%s", h.reason, h.count, h.part, text)
		if again, rest, ok := parse(written); !ok || again != h || rest != text {
			t.Errorf("%+v, written and read again %+v, %v", h, again, ok)
		}
		for line := range strings.Lines(text) {
			l := record(line)
			if logline.Parse(l.String()) != l {
				t.Errorf("%q becomes %q", line, l)
			}
		}
	})
}
