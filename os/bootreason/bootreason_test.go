package bootreason

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

var (
	record = Record{"reboot asked for by SIGTERM", time.Date(2026, 11, 21, 7, 4, 19, 0, time.UTC), 3 * time.Hour}
	golden = "ember-reboot-1 047e004a 2026-11-21T07:04:19Z 10800 reboot asked for by SIGTERM\n"
)

func TestGolden(t *testing.T) {
	if got := string(record.encode()); got != golden {
		t.Errorf("got %q, want %q", got, golden)
	}
	second := Record{"é", record.Time, 0}
	for _, text := range []string{golden, "noise\x00\xff" + golden, golden + "more", string(second.encode()) + golden,
		golden + strings.ReplaceAll(golden, "SIGTERM", "SIGTERN"), golden + golden[:20]} {
		if got, ok := decode([]byte(text)); !ok || got != record {
			t.Errorf("%q: %+v, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "ember-reboot-1 ", golden[:len(golden)-1], strings.ToUpper(golden), "ember-reboot-1 00000000 \n"} {
		if got, ok := decode([]byte(text)); ok {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func TestLong(t *testing.T) {
	for _, text := range []string{strings.Repeat("x", 2*maxSize), strings.Repeat("é", maxSize), "x" + strings.Repeat("é", maxSize)} {
		b := Record{text, record.Time, 0}.encode()
		got, ok := decode(b)
		if len(b) > maxSize || len(b) < maxSize-1 || !ok || !strings.HasPrefix(text, got.Text) {
			t.Errorf("%d bytes, %+v, %v", len(b), got, ok)
		}
	}
}

// places are those of a machine with EFI variables, with pmsg, with both or none. Its
// kernel has no store of crashes.
func places(t *testing.T, variables, pmsg bool) Places {
	t.Helper()
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	p := Places{Variables: in("efivars"), Pmsg: in("pmsg0"), Log: in("kmsg"), DumpLog: in("always"), Backend: in("backend"), Store: in("pstore")}
	for path, text := range map[string]string{p.Log: "", p.DumpLog: "N\n", p.Backend: "efi_pstore\n"} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if variables {
		if err := os.Mkdir(p.Variables, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if pmsg {
		if err := os.WriteFile(p.Pmsg, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(p.Store, 0o755); err != nil {
		t.Fatal(err)
	}
	return p
}

// reboot does what a reboot does to what was written to pmsg.
func reboot(t *testing.T, p Places) {
	t.Helper()
	b, err := os.ReadFile(p.Pmsg)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(p.Store, "pmsg-ramoops-0"), append([]byte("other\n"), b...), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestSaveAndTake(t *testing.T) {
	for name, p := range map[string]Places{
		"variables": places(t, true, false), "pmsg": places(t, false, true), "both": places(t, true, true),
	} {
		t.Run(name, func(t *testing.T) {
			if r, err := p.Take(); r != nil || err != nil {
				t.Errorf("before: %+v, %v", r, err)
			}
			for _, r := range []Record{{Text: strings.Repeat("longer", 20)}, record} {
				if err := p.Save(r); err != nil {
					t.Fatal(err)
				}
			}
			reboot(t, p)
			if r, err := p.Take(); err != nil || r == nil || *r != record {
				t.Errorf("got %+v, %v", r, err)
			}
			if r, err := p.Take(); r != nil || err != nil {
				t.Errorf("taken twice: %+v, %v", r, err)
			}
		})
	}
}

// TestLog has a kernel that keeps its log in two parts, and an older crash. Once more there is a variable too.
func TestLog(t *testing.T) {
	p := places(t, false, false)
	if err := os.WriteFile(p.Backend, []byte(erst), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := p.Save(record); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(p.DumpLog); string(b) != "Y\n" { // it had "N\n" and is no real parameter
		t.Errorf("the log is dumped: %q, %v", b, err)
	}
	log, err := os.ReadFile(p.Log)
	if err != nil || string(log) != "<15>"+golden {
		t.Errorf("the log has %q, %v", log, err)
	}
	crashed := filepath.Join(p.Store, "dmesg-erst-1")
	for path, text := range map[string]string{
		crashed:                                "Panic#1 Part1\n<15>[    1.000000] " + golden,
		filepath.Join(p.Store, "dmesg-erst-2"): "Shutdown#1 Part1\n<15>[   12.500000] " + golden + "<6>[   12.600000] reboot: Restarting system\n",
		filepath.Join(p.Store, "dmesg-erst-3"): "Shutdown#1 Part2\n<6>[   12.300000] earlier\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := p.Take(); err != nil || r == nil || *r != record {
		t.Errorf("got %+v, %v", r, err)
	}
	if left, err := filepath.Glob(filepath.Join(p.Store, "*")); err != nil || len(left) != 1 || left[0] != crashed {
		t.Errorf("left are %q, %v", left, err)
	}
	if r, err := p.Take(); r != nil || err != nil {
		t.Errorf("taken twice: %+v, %v", r, err)
	}

	if err := errors.Join(os.Mkdir(p.Variables, 0o700), os.WriteFile(crashed, []byte("Shutdown#1 Part1\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := p.Save(record); err != nil {
		t.Fatal(err)
	}
	if r, err := p.Take(); err != nil || r == nil || *r != record {
		t.Errorf("from the variable: %+v, %v", r, err)
	}
	if _, err := os.Stat(crashed); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the log stays: %v", err)
	}
}

func TestVariable(t *testing.T) {
	p := places(t, true, false)
	if err := p.Save(record); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(p.Variables, variable)
	if b, err := os.ReadFile(path); string(b) != "\x07\x00\x00\x00"+golden {
		t.Errorf("the variable holds %q, %v", b, err)
	}
	if err := os.WriteFile(path, []byte("\x07\x00\x00\x00nonsense"), 0o644); err != nil {
		t.Fatal(err)
	}
	if r, err := p.Take(); r != nil || err == nil {
		t.Errorf("of nonsense: %+v, %v", r, err)
	}
	if r, err := p.Take(); r != nil || err != nil {
		t.Errorf("nonsense stays: %+v, %v", r, err)
	}
}

// TestUnreadable has a variable, and then a message too, that can not be read: each is a directory.
func TestUnreadable(t *testing.T) {
	p := places(t, true, true)
	if err := os.Mkdir(filepath.Join(p.Variables, variable), 0o700); err != nil {
		t.Fatal(err)
	}
	if r, err := p.Take(); r != nil || !errors.Is(err, unix.EISDIR) {
		t.Errorf("nothing else: %+v, %v", r, err)
	}
	if err := os.Mkdir(filepath.Join(p.Store, pmsgFilePrefix+"first"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(p.Store, pmsgFilePrefix+"second"), []byte(golden), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := p.Take(); r == nil || *r != record || !errors.Is(err, unix.EISDIR) {
		t.Errorf("got %+v, %v", r, err)
	}
	if r, err := p.Take(); r != nil || err == nil {
		t.Errorf("taken twice: %+v, %v", r, err)
	}
}

func TestImmutable(t *testing.T) {
	p := places(t, true, false)
	if err := p.Save(record); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(p.Variables, variable))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, immutable); err != nil {
		t.Skip("nobody may make files immutable here: ", err)
	}
	if err := p.Save(record); err != nil {
		t.Error(err)
	}
	if r, err := p.Take(); err != nil || r == nil {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestNowhere(t *testing.T) {
	if err := places(t, false, false).Save(record); err != ErrNowhere {
		t.Error(err)
	}
	p := places(t, false, false)
	if err := os.Mkdir(p.Pmsg, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := p.Save(record); err == nil || errors.Is(err, ErrNowhere) {
		t.Error(err)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range []string{"", "save", "take"} {
		if status := Main(strings.Fields(args)); status != 2 {
			t.Errorf("%q: status %d", args, status)
		}
	}
}

func FuzzRoundTrip(f *testing.F) {
	f.Add("reboot", int64(1e9), uint32(7))
	f.Add("a\nb\x00\xff"+strings.Repeat("é", 400), int64(-1), uint32(0))
	f.Fuzz(func(t *testing.T, text string, at int64, uptime uint32) {
		r := Record{text, time.Unix(at&(1<<37-1), 0).UTC(), time.Duration(uptime) * time.Second}
		b := r.encode()
		got, ok := decode(b)
		if !ok || !got.Time.Equal(r.Time) || got.Uptime != r.Uptime || !strings.HasPrefix(oneLine(text), got.Text) || !utf8.ValidString(got.Text) || len(b) > maxSize {
			t.Errorf("%+v came back as %+v, %v", r, got, ok)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("noise\n" + golden))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, ok := decode(b)
		if !ok {
			return
		}
		if again, ok := decode(append(b, r.encode()...)); !ok || again.Uptime != r.Uptime {
			t.Errorf("%+v, written again %+v, %v", r, again, ok)
		}
	})
}
