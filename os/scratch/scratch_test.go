package scratch

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/os/cmdline"
)

// machine is a system of files, with a program that writes down its arguments
// instead of mkfs.
type machine struct {
	t *testing.T
	system
	mounted string // the last device, then "->" and the target
}

func newMachine(t *testing.T) *machine {
	m := &machine{t: t, system: system{root: t.TempDir(), appear: time.Minute}}
	m.write("mkfs", "#!/bin/sh\necho \"$@\" >>"+m.path("formatted")+"\n")
	m.mkfs = m.path("mkfs")
	m.mount = func(device, target string) error {
		m.mounted = strings.TrimPrefix(device, m.root) + "->" + target
		return nil
	}
	return m
}

func (m *machine) write(path, text string) {
	m.t.Helper()
	path = m.path(path)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o755)); err != nil {
		m.t.Fatal(err)
	}
}

// disk adds a disk, with a serial number and partitions that have names.
func (m *machine) disk(name, serial string, data []byte, partitions ...string) {
	m.t.Helper()
	blocks := "sys/block/" + name
	m.write(blocks+"/size", "8\n")
	m.write(blocks+"/serial", serial+"\n")
	m.write(blocks+"/uevent", "DEVNAME="+name+"\nDEVTYPE=disk\n")
	m.write(blocks+"/ro", "0\n")
	m.link(name, blocks)
	m.write("dev/"+name, string(data))
	for i, label := range partitions {
		p := name + string(rune('1'+i))
		m.write(blocks+"/"+p+"/partition", "1\n")
		m.write(blocks+"/"+p+"/uevent", "DEVTYPE=partition\nPARTN=1\nPARTNAME="+label+"\n")
		m.link(p, blocks+"/"+p)
		m.write("dev/"+p, string(make([]byte, 4096)))
	}
}

func (m *machine) link(name, to string) {
	m.t.Helper()
	class := m.path("sys/class/block")
	if err := errors.Join(os.MkdirAll(class, 0o755), os.Symlink("../../../"+to, filepath.Join(class, name))); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) formatted() string {
	text, _ := os.ReadFile(m.path("formatted"))
	return strings.ReplaceAll(string(text), m.root, "")
}

const options = "-q -F -L ember-scratch -m 0 -O ^has_journal -E nodiscard,lazy_itable_init=1 "

func TestTake(t *testing.T) {
	blank := make([]byte, 4096)
	everything := func(m *machine) {
		m.disk("sda", "AAA", at(4096, 510, "\x55\xaa"), "root", "scratch data", "twin")
		m.disk("sdb", "BBB", blank)
		m.disk("sdc", "CCC", extDisk(t, Label))
		m.disk("sdd", "TWIN", extDisk(t, "precious data"), "twin")
		m.disk("sde", "TWIN", at(4096, 4095, "\x01"))
		m.disk("sdf", "FFF", blank)
		m.write("sys/block/sdf/holders/md0", "")
		m.disk("sdg", "GGG", blank)
		m.write("sys/block/sdg/ro", "1\n")
		m.disk("loop0", "BBB", extDisk(t, Label))
		m.disk("sr0", "SR", nil)
	}
	for _, tt := range []struct{ disk, device, why string }{
		{"/dev/sdb", "/dev/sdb", ""},
		{"SERIAL=BBB", "/dev/sdb", ""},
		{"/dev/sda2", "/dev/sda2", ""},
		{"PARTLABEL=scratch data", "/dev/sda2", ""},
		{"/dev/sdc", "/dev/sdc", ""},
		{"LABEL=ember-scratch", "/dev/sdc", ""},
		{"LABEL=precious data", "", "/dev/sdd is not used: it has partitions, as sdd1"},
		{"/dev/sda", "", "/dev/sda is not used: it has partitions, as sda1"},
		{"SERIAL=AAA", "", "/dev/sda is not used: it has partitions"},
		{"SERIAL=TWIN", "", "SERIAL=TWIN is the name of several disks: sdd, sde"},
		{"PARTLABEL=twin", "", "PARTLABEL=twin is the name of several disks: sda3, sdd1"},
		{"/dev/sde", "", "/dev/sde is not used and was not changed: it holds something that is not known, and only a disk that is empty"},
		{"/dev/sdf", "", "/dev/sdf is not used: it is a part of md0"},
		{"/dev/sdg", "", "/dev/sdg is not used: it can only be read"},
		{"/dev/sr0", "", "/dev/sr0 is not used: its size is 0"},
		{"UUID=" + strings.ToUpper(testUUID), "", "UUID=" + strings.ToUpper(testUUID) + " is the name of several disks: sdc, sdd"},
	} {
		m := newMachine(t)
		everything(m)
		d := named(tt.disk)
		err := m.take(t.Context(), slog.New(slog.DiscardHandler), d, "/target")
		if tt.device == "" {
			if err == nil || !strings.HasPrefix(err.Error(), tt.why) || m.formatted() != "" || m.mounted != "" {
				t.Errorf("%s: %v, formatted %q, mounted %q; want %s", tt.disk, err, m.formatted(), m.mounted, tt.why)
			}
			continue
		}
		uuid := ""
		if tt.device == "/dev/sdc" {
			uuid = "-U " + testUUID + " "
		}
		if want := options + uuid + tt.device + "\n"; err != nil || m.formatted() != want || m.mounted != tt.device+"->/target" {
			t.Errorf("%s: %v, formatted %q, mounted %q; want %q", tt.disk, err, m.formatted(), m.mounted, want)
		}
	}
}

func named(name string) cmdline.Disk {
	if tag, value, ok := strings.Cut(name, "="); ok {
		return cmdline.Disk{Tag: tag, Value: value}
	}
	return cmdline.Disk{Value: name}
}

// TestLate has a disk that the kernel finds after a while.
func TestLate(t *testing.T) {
	m := newMachine(t)
	ready := make(chan struct{})
	log := slog.New(slog.NewTextHandler(writerFunc(func(p []byte) {
		if bytes.Contains(p, []byte("waiting for a disk")) {
			close(ready)
		}
	}), nil))
	done := make(chan error, 1)
	go func() { done <- m.take(t.Context(), log, named("/dev/sdb"), "/target") }()
	<-ready
	m.write("dev/sdb", string(make([]byte, 4096)))
	m.write("sys/class/block/sdb/ro", "0\n")
	if err := <-done; err != nil || m.mounted != "/dev/sdb->/target" {
		t.Error(err, m.mounted)
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }

func TestNever(t *testing.T) {
	m := newMachine(t)
	m.appear = time.Millisecond
	err := m.take(t.Context(), slog.New(slog.DiscardHandler), named("SERIAL=x"), "/target")
	if err == nil || err.Error() != "there is no disk SERIAL=x; ember status shows those there are" {
		t.Error(err)
	}
	m.appear = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.take(ctx, slog.New(slog.DiscardHandler), named("/dev/sda"), "/target"); err == nil {
		t.Error("no disk, and no error")
	}
}

func TestFormatFails(t *testing.T) {
	m := newMachine(t)
	m.disk("sdb", "BBB", make([]byte, 4096))
	m.write("mkfs", "#!/bin/sh\necho it is too >&2\necho small >&2\nexit 1\n")
	take := func() string {
		err := m.take(t.Context(), slog.New(slog.DiscardHandler), named("/dev/sdb"), "/target")
		if err == nil || m.mounted != "" {
			t.Fatalf("mounted %q, %v", m.mounted, err)
		}
		return err.Error()
	}
	if got := take(); got != "making a filesystem on /dev/sdb: exit status 1: it is too small" {
		t.Error(got)
	}
	m.mkfs = m.path("nothing")
	if got := take(); got != "making a filesystem on /dev/sdb: the image has no /usr/sbin/mkfs.ext4" {
		t.Error(got)
	}
}
