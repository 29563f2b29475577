package fetch

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

var agentPaths = []string{"/tink-agent", "usr/bin/tink-agent", "usr/local/bin/tink-agent", "usr/bin/tink-worker"}

func TestExtract(t *testing.T) {
	p := func(path, mark string) string { return path + " " + ours(mark) }
	for name, tt := range map[string]struct {
		layers     [][]string // the lowest first
		path, mark string     // "" for none
	}{
		"scratch":               {[][]string{{p("tink-agent", "a")}}, "/tink-agent", "a"},
		"dotted names":          {[][]string{{"./", p("./usr/bin/tink-agent", "a")}}, "/usr/bin/tink-agent", "a"},
		"local":                 {[][]string{{"usr/", "usr/local/", p("usr/local/bin/tink-agent", "a")}}, "/usr/local/bin/tink-agent", "a"},
		"worker":                {[][]string{{p("usr/bin/tink-worker", "a")}}, "/usr/bin/tink-worker", "a"},
		"order of paths":        {[][]string{{p("usr/bin/tink-worker", "a"), p("tink-agent", "b"), p("usr/bin/tink-agent", "c")}}, "/tink-agent", "b"},
		"over layers":           {[][]string{{p("tink-agent", "a")}, {p("usr/bin/tink-worker", "b")}}, "/tink-agent", "a"},
		"upper layer":           {[][]string{{p("tink-agent", "a")}, {p("tink-agent", "b")}, {"etc/x 1"}}, "/tink-agent", "b"},
		"last in a layer":       {[][]string{{p("tink-agent", "a"), p("tink-agent", "b")}}, "/tink-agent", "b"},
		"whiteout":              {[][]string{{p("tink-agent", "a"), p("usr/bin/tink-worker", "b")}, {".wh.tink-agent 1"}}, "/usr/bin/tink-worker", "b"},
		"whiteout, own layer":   {[][]string{{p("tink-agent", "a")}, {".wh.tink-agent 1", p("tink-agent", "b")}}, "/tink-agent", "b"},
		"whiteout of parent":    {[][]string{{p("usr/bin/tink-agent", "a")}, {"usr/.wh.bin 1"}}, "", ""},
		"whiteout, put back":    {[][]string{{p("usr/bin/tink-agent", "a")}, {"usr/.wh.bin 1"}, {p("usr/bin/tink-agent", "c")}}, "/usr/bin/tink-agent", "c"},
		"opaque":                {[][]string{{p("usr/bin/tink-agent", "a")}, {"usr/.wh..wh..opq 1", "usr/bin/x 1"}}, "", ""},
		"opaque root":           {[][]string{{p("tink-agent", "a")}, {".wh..wh..opq 1", p("usr/bin/tink-agent", "b")}}, "/usr/bin/tink-agent", "b"},
		"opaque, itself":        {[][]string{{p("usr/bin/tink-agent", "a")}, {"usr/bin/.wh..wh..opq 1", p("usr/bin/tink-agent", "b")}}, "/usr/bin/tink-agent", "b"},
		"parent made a file":    {[][]string{{p("usr/bin/tink-agent", "a")}, {"usr 1"}}, "", ""},
		"symlink":               {[][]string{{p("opt/agent", "a"), "tink-agent -> opt/agent"}}, "/tink-agent", "a"},
		"symlink, absolute":     {[][]string{{p("opt/agent", "a")}, {"usr/bin/tink-agent -> /opt/agent"}}, "/usr/bin/tink-agent", "a"},
		"symlink, up":           {[][]string{{p("opt/agent", "a"), "usr/bin/tink-agent -> ../../../../opt/agent"}}, "/usr/bin/tink-agent", "a"},
		"symlink of parent":     {[][]string{{p("opt/x/bin/tink-agent", "a"), "opt/y -> x", "usr -> opt/y/"}}, "/usr/bin/tink-agent", "a"},
		"symlink, target newer": {[][]string{{p("opt/agent", "a"), "tink-agent -> opt/agent"}, {p("opt/agent", "b")}}, "/tink-agent", "b"},
		"symlink, dangling":     {[][]string{{"tink-agent -> opt/agent", p("usr/bin/tink-agent", "b")}}, "/usr/bin/tink-agent", "b"},
		"symlink to itself":     {[][]string{{"tink-agent -> tink-agent", "usr/bin -> bin", "usr/bin/tink-worker -> ../bin"}}, "", ""},
		"hard link":             {[][]string{{p("opt/agent", "a"), "tink-agent => opt/agent"}}, "/tink-agent", "a"},
		"hard link, lower":      {[][]string{{p("opt/agent", "a")}, {"tink-agent => /opt/agent"}}, "/tink-agent", "a"},
		"hard link, outlives":   {[][]string{{p("opt/agent", "a"), "tink-agent => opt/agent"}, {"opt/.wh.agent 1"}}, "/tink-agent", "a"},
		"hard link, newer":      {[][]string{{p("opt/agent", "a"), "tink-agent => opt/agent"}, {p("opt/agent", "b")}}, "/tink-agent", "a"},
		"hard link to a link":   {[][]string{{p("opt/agent", "a"), "x => opt/agent", "tink-agent => x"}}, "/tink-agent", "a"},
		"hard link to nothing":  {[][]string{{"tink-agent => x", "x => tink-agent", "usr/bin/tink-agent => y"}}, "", ""},
		"directory":             {[][]string{{"tink-agent/", p("usr/bin/tink-agent", "b")}}, "/usr/bin/tink-agent", "b"},
		"nothing":               {[][]string{{"etc/passwd root"}}, "", ""},
		"no layers":             {nil, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var layers [][]byte
			for _, l := range tt.layers {
				layers = append(layers, archive(t, l...))
			}
			im, m := inMemory(layers...)
			path, mark, err := extracted(t, im, m, agentPaths...)
			none, _ := errors.AsType[programError](err)
			if path != tt.path || mark != tt.mark || (tt.path == "") != (len(none.wanted) == len(agentPaths)) {
				t.Errorf("%q, %q, %v", path, mark, err)
			}
		})
	}
}

func TestCompression(t *testing.T) {
	plain := archive(t, "tink-agent "+ours("a"))
	for name, layer := range map[string][]byte{"plain": plain, "gzip": gzipped(t, plain), "zstd": zstandard(t, plain)} {
		im, m := inMemory(layer)
		if _, mark, err := extracted(t, im, m, agentPaths...); mark != "a" || err != nil {
			t.Errorf("%s: %q, %v", name, mark, err)
		}
		im, m = inMemory(layer[:min(540, len(layer)/2)])
		_, _, err := extracted(t, im, m, agentPaths...)
		if _, ok := errors.AsType[notImageError](err); !ok {
			t.Errorf("%s, cut off: %v", name, err)
		}
	}
}

func TestEntrypoint(t *testing.T) {
	im, m := inMemory(archive(t, "opt/agent "+ours("o"), "usr/bin/agent "+ours("u")))
	for _, tt := range []struct{ entrypoint, directory, path, mark string }{
		{"/opt/agent", "", "", "o"},
		{"./agent", "/opt", "", "o"},
		{"bin/agent", "/usr", "", "u"},
		{"agent", "/opt", defaultPath, "u"},
		{"agent", "/", "/nothing:/opt:/usr/bin", "o"},
		{"agent", "/opt", "", ""},
		{"", "", defaultPath, ""},
	} {
		im.entrypoint, im.directory, im.path = tt.entrypoint, tt.directory, tt.path
		if _, mark, err := extracted(t, im, m, agentPaths...); mark != tt.mark || (err == nil) != (mark != "") {
			t.Errorf("%+v: %q, %v", tt, mark, err)
		}
	}
	im.entrypoint = "/opt/agent"
	if path, _, err := extracted(t, im, m, "/usr/bin/agent"); path != "/usr/bin/agent" {
		t.Errorf("the entrypoint wins over a path: %q, %v", path, err)
	}
}

func TestWrongPrograms(t *testing.T) {
	foreign := elf.EM_AARCH64
	if runtime.GOARCH == "arm64" {
		foreign = elf.EM_X86_64
	}
	object := []byte(ours(""))
	object[16] = byte(elf.ET_REL)
	for text, want := range map[string]string{
		"#!/bin/sh\n":                 "its /tink-agent is not a program",
		"":                            "its /tink-agent is not a program",
		string(program(foreign, "a")): fmt.Sprintf("its /tink-agent is a program for %v, and this machine is %v", foreign, machines[runtime.GOARCH]),
		string(object):                "its /tink-agent is not a program but ET_REL",
	} {
		im, m := inMemory(archive(t, "tink-agent "+text))
		if _, _, err := extracted(t, im, m, agentPaths...); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestExtractKeepsTheOldFile(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	if err := os.WriteFile(out, []byte("old"), 0o755); err != nil {
		t.Fatal(err)
	}
	im, m := inMemory(archive(t, "tink-agent new"))
	if _, err := im.extract(t.Context(), m, agentPaths, out); err == nil {
		t.Error("no error")
	}
	if text, err := os.ReadFile(out); string(text) != "old" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestStoreErrors(t *testing.T) {
	broken := errors.New("containerd went away")
	s := newSearch(1, func(int) (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(bytes.NewReader(archive(t, "x 1")[:600]), errReader{broken})), nil
	}, agentPaths, nil)
	if _, _, err := s.find(); err != broken {
		t.Errorf("%v, want the store's own error", err)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestLimits(t *testing.T) {
	find := func(b budget) error {
		layer := archive(t, "etc/one 1", "etc/two 2", "tink-agent "+ours("a"))
		s := newSearch(1, func(int) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer)), nil },
			[]string{"tink-agent"}, func() (*os.File, error) { return os.CreateTemp(t.TempDir(), "") })
		s.left = b
		_, _, err := s.find()
		return err
	}
	if err := find(budget{3, 100, 1 << 20}); err != nil {
		t.Errorf("within the limits: %v", err)
	}
	for _, b := range []budget{{2, 100, 1 << 20}, {3, 10, 1 << 20}, {3, 100, 2000}} {
		if _, ok := errors.AsType[notImageError](find(b)); !ok {
			t.Errorf("%+v is not a limit", b)
		}
	}
	s := search{spool: func() (*os.File, error) { panic("it was made") }}
	if err := s.write(nil, programLimit+1); err == nil {
		t.Error("a program may be of any size")
	}
}

func FuzzSearch(f *testing.F) {
	f.Add(archive(f, "tink-agent x", "usr/.wh.bin 1"), archive(f, "usr/bin/tink-worker -> ../x", "usr/x => tink-agent", ".wh..wh..opq 1"))
	f.Add(gzipped(f, archive(f, "tink-agent -> tink-agent")), zstandard(f, archive(f, "usr -> /tink-agent/", "usr/bin/tink-agent 1")))
	f.Fuzz(func(t *testing.T, lower, upper []byte) {
		layers := [][]byte{upper, lower}
		open := func(i int) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layers[i])), nil }
		var spooled *os.File
		s := newSearch(2, open, []string{"tink-agent", "usr/bin/tink-agent", "usr/bin/tink-worker"}, func() (f *os.File, err error) {
			spooled, err = os.CreateTemp(t.TempDir(), "")
			return spooled, err
		})
		s.left = budget{1000, 1 << 16, 1 << 24}
		defer func() {
			if spooled != nil {
				spooled.Close()
			}
		}()
		name, e, err := s.find()
		if err != nil || name == "" {
			return
		}
		if e.kind != file {
			t.Errorf("%s is %+v", name, e)
		}
		if _, err := s.program(e); err != nil {
			if _, ok := errors.AsType[notImageError](err); !ok {
				t.Errorf("%s was found but not read: %v", name, err)
			}
		}
	})
}
