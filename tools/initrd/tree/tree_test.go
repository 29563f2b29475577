package tree

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
)

// A layer is written as lines: "d path [mode]", "f path content [mode]",
// "l path target" (symbolic), "h path target" (hard), "c path major:minor",
// "p path" (fifo), "w path" (an empty file: a whiteout).
func layer(t testing.TB, lines string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for line := range strings.Lines(lines) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		words = append(words, "", "", "")
		h := tar.Header{Name: words[1], Mode: 0o644}
		data, mode := "", words[3]
		switch words[0] {
		case "d":
			h.Typeflag, h.Mode, mode = tar.TypeDir, 0o755, words[2]
		case "f":
			h.Typeflag, data = tar.TypeReg, words[2]
		case "l":
			h.Typeflag, h.Linkname = tar.TypeSymlink, words[2]
		case "h":
			h.Typeflag, h.Linkname = tar.TypeLink, words[2]
		case "c":
			h.Typeflag = tar.TypeChar
			fmt.Sscanf(words[2], "%d:%d", &h.Devmajor, &h.Devminor)
		case "p":
			h.Typeflag = tar.TypeFifo
		case "w":
			h.Typeflag = tar.TypeReg
		default:
			t.Fatalf("bad line %q", line)
		}
		if mode != "" {
			fmt.Sscanf(mode, "%o", &h.Mode)
		}
		h.Size = int64(len(data))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		io.WriteString(w, data)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func merge(t testing.TB, layers ...string) (*Tree, error) {
	t.Helper()
	tr := New()
	for _, l := range layers {
		if err := tr.Apply(bytes.NewReader(layer(t, l))); err != nil {
			return nil, err
		}
	}
	return tr, nil
}

// show lists a tree, one file a line; hard links are marked by their first path.
func show(tr *Tree) string {
	var b strings.Builder
	first := map[*Inode]string{}
	for _, e := range tr.Entries() {
		fmt.Fprintf(&b, "%s %o", e.Path, e.Mode)
		if e.Target != "" {
			fmt.Fprintf(&b, " -> %s", e.Target)
		}
		if e.Major|e.Minor != 0 {
			fmt.Fprintf(&b, " %d:%d", e.Major, e.Minor)
		}
		if p, ok := first[e.Inode]; ok {
			fmt.Fprintf(&b, " = %s", p)
		} else if len(e.Data) > 0 {
			fmt.Fprintf(&b, " %s", e.Data)
		}
		first[e.Inode] = e.Path
		b.WriteByte('\n')
	}
	return b.String()
}

func TestMerge(t *testing.T) {
	long := strings.Repeat("long/", 60) + "name"
	for name, c := range map[string]struct {
		layers []string
		want   string
	}{
		"one of each": {
			[]string{"d ./\nd ./d/ 1777\nf d/f data 4755\nl d/s f\nh d/h d/f\nc null 1:3\np pipe"},
			"d 41777\nd/f 104755 data\nd/h 104755 = d/f\nd/s 120777 -> f\nnull 20644 1:3\npipe 10644\n",
		},
		"parents are made": {
			[]string{"f a//b/./c x"},
			"a 40755\na/b 40755\na/b/c 100644 x\n",
		},
		"a made parent takes its entry's mode": {
			[]string{"f a/b x\nd a 700"},
			"a 40700\na/b 100644 x\n",
		},
		"later layers win, directories merge": {
			[]string{"d a 700\nf a/b one\nf a/c one", "d a 711\nf a/b two"},
			"a 40711\na/b 100644 two\na/c 100644 one\n",
		},
		"a path below a directory that the layer does not name": {
			[]string{"d a 700\nf a/b x", "f a/c y"},
			"a 40700\na/b 100644 x\na/c 100644 y\n",
		},
		"file over directory": {
			[]string{"f a/b/c x", "f a file"},
			"a 100644 file\n",
		},
		"directory over file": {
			[]string{"f a file", "d a\nf a/b x"},
			"a 40755\na/b 100644 x\n",
		},
		"directory over symbolic link": {
			[]string{"f t/x x\nl a t", "d a\nf a/b y"},
			"a 40755\na/b 100644 y\nt 40755\nt/x 100644 x\n",
		},
		"symbolic link over directory": {
			[]string{"f a/b x\nd t", "l a t\nf a/c y"},
			"a 120777 -> t\nt 40755\nt/c 100644 y\n",
		},
		"merged usr": {
			[]string{"d usr/bin\nl bin usr/bin\nl usr/sbin bin\nl sbin /usr/sbin", "f bin/one x\nf sbin/two y\nf usr/sbin/sub/three z"},
			"bin 120777 -> usr/bin\nsbin 120777 -> /usr/sbin\nusr 40755\nusr/bin 40755\nusr/bin/one 100644 x\nusr/bin/sub 40755\nusr/bin/sub/three 100644 z\nusr/bin/two 100644 y\nusr/sbin 120777 -> bin\n",
		},
		"a link upwards stays inside": {
			[]string{"d a/b\nd etc\nl a/b/up ../../../../etc", "f a/b/up/f x"},
			"a 40755\na/b 40755\na/b/up 120777 -> ../../../../etc\netc 40755\netc/f 100644 x\n",
		},
		"whiteout of a file": {
			[]string{"f a/b x\nf a/c y", "w a/.wh.b"},
			"a 40755\na/c 100644 y\n",
		},
		"whiteout of a directory": {
			[]string{"f a/b x\nf c y", "w .wh.a"},
			"c 100644 y\n",
		},
		"whiteout of nothing": {
			[]string{"f a x", "w b/.wh.c\nw .wh.d"},
			"a 100644 x\n",
		},
		"whiteout before its replacement": {
			[]string{"f a/b x", "w .wh.a\nd a\nf a/c y"},
			"a 40755\na/c 100644 y\n",
		},
		"whiteout after its replacement": {
			[]string{"f a/b x", "d a\nf a/c y\nw .wh.a"},
			"a 40755\na/c 100644 y\n",
		},
		"whiteout leaves what its own layer put deep down": {
			[]string{"f a/b/c x", "f a/b/d y\nw .wh.a"},
			"a 40755\na/b 40755\na/b/d 100644 y\n",
		},
		"whiteout is undone by a later layer": {
			[]string{"f a x", "w .wh.a", "f a y"},
			"a 100644 y\n",
		},
		"whiteout through a symbolic link": {
			[]string{"f usr/bin/x x\nf usr/bin/y y\nl bin usr/bin", "w bin/.wh.x"},
			"bin 120777 -> usr/bin\nusr 40755\nusr/bin 40755\nusr/bin/y 100644 y\n",
		},
		"whiteout of a symbolic link spares its target": {
			[]string{"f t/x x\nl a t", "w .wh.a"},
			"t 40755\nt/x 100644 x\n",
		},
		"opaque directory": {
			[]string{"f a/b/c x\nf a/d y\nf e z", "d a 700\nf a/new n\nw a/.wh..wh..opq"},
			"a 40700\na/new 100644 n\ne 100644 z\n",
		},
		"opaque before its entries": {
			[]string{"f a/d y", "w a/.wh..wh..opq\nf a/d new"},
			"a 40755\na/d 100644 new\n",
		},
		"opaque root": {
			[]string{"f a/d y", "w .wh..wh..opq\nf b x"},
			"b 100644 x\n",
		},
		"hard link to a lower layer's file": {
			[]string{"f a x 755", "h b a"},
			"a 100755 x\nb 100755 = a\n",
		},
		"one name of a hard-linked file replaced": {
			[]string{"f a x\nh b a", "f a new"},
			"a 100644 new\nb 100644 x\n",
		},
		"one name of a hard-linked file hidden": {
			[]string{"f a x\nh b a", "w .wh.a"},
			"b 100644 x\n",
		},
		"hard link onto itself": {
			[]string{"f a x\nh a a"},
			"a 100644 x\n",
		},
		"hard link over the directory of its file": {
			[]string{"f a/b x\nh a a/b"},
			"a 100644 x\n",
		},
		"hard link through a symbolic link": {
			[]string{"f usr/bin/x x\nl bin usr/bin\nh bin/y bin/x"},
			"bin 120777 -> usr/bin\nusr 40755\nusr/bin 40755\nusr/bin/x 100644 x\nusr/bin/y 100644 = usr/bin/x\n",
		},
		"hard link to a symbolic link is a copy": {
			[]string{"l a t\nh b a"},
			"a 120777 -> t\nb 120777 -> t\n",
		},
		"a name of 304 bytes": {
			[]string{"f " + long + " x\nl link " + long},
			"link 120777 -> " + long + "\n" + parents(long) + long + " 100644 x\n",
		},
		"names that sort around the slash": {
			[]string{"f a-b x\nf a/b y\nf a.b z\nf ab w"},
			"a 40755\na-b 100644 x\na.b 100644 z\na/b 100644 y\nab 100644 w\n",
		},
	} {
		tr, err := merge(t, c.layers...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got := show(tr); got != c.want {
			t.Errorf("%s: got\n%swant\n%s", name, got, c.want)
		}
	}
}

func parents(p string) string {
	var b strings.Builder
	for i, c := range p {
		if c == '/' {
			fmt.Fprintf(&b, "%s 40755\n", p[:i])
		}
	}
	return b.String()
}

func TestApplyRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		layers []string
		reason string
	}{
		"absolute":              {[]string{"f /etc/passwd x"}, "absolute"},
		"upwards":               {[]string{"f a/../../b x"}, "upwards"},
		"upwards inside":        {[]string{"f a/../b x"}, "upwards"},
		"below a file":          {[]string{"f a x", "f a/b y"}, "not a directory"},
		"below a dangling link": {[]string{"l a nowhere", "f a/b y"}, "does not exist"},
		"below a loop":          {[]string{"l a b\nl b a\nf a/c x"}, "symbolic links"},
		"below a link to self":  {[]string{"l a .\nl b a/b\nf b/c x"}, "symbolic links"},
		"hard link to nothing":  {[]string{"h a b"}, "must come after"},
		"hard link forward":     {[]string{"h a b\nf b x"}, "must come after"},
		"hard link to dir":      {[]string{"d a\nh b a"}, "directory"},
		"hard link upwards":     {[]string{"h b ../a"}, "upwards"},
		"hard link absolute":    {[]string{"f a x\nh b /a"}, "absolute"},
		"hard link to hidden":   {[]string{"f a x", "w .wh.a\nh b a"}, "must come after"},
		"empty whiteout":        {[]string{"w a/.wh."}, "no whiteout"},
		"whiteout of dots":      {[]string{"w a/.wh..."}, "no whiteout"},
		"unknown mark":          {[]string{"w .wh..wh.plnk"}, "no whiteout"},
		"below a whiteout":      {[]string{"f .wh.a/b x"}, "below a whiteout"},
	} {
		tr, err := merge(t, c.layers...)
		if err == nil {
			t.Errorf("%s: merged to\n%s", name, show(tr))
		} else if !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s: %q does not contain %q", name, err, c.reason)
		}
	}
}

// header makes a layer of a single header, without content.
func header(t testing.TB, h tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := tar.NewWriter(&b).WriteHeader(&h); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestApplyRefusesHeaders(t *testing.T) {
	for reason, h := range map[string]tar.Header{
		"more than a newc": {Name: "a", Typeflag: tar.TypeReg, Size: math.MaxUint32 + 1},
		"out of range":     {Name: "a", Typeflag: tar.TypeDir, Uid: math.MaxUint32 + 1},
		"no target":        {Name: "a", Typeflag: tar.TypeSymlink},
		"tar type '7'":     {Name: "a", Typeflag: tar.TypeCont},
	} {
		err := New().Apply(bytes.NewReader(header(t, h)))
		if err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%+v: %v", h, err)
		}
	}
	full := layer(t, "f a content")
	if err := New().Apply(bytes.NewReader(full[:515])); err == nil {
		t.Error("a layer cut short was taken")
	}
}

func TestXattrs(t *testing.T) {
	data := header(t, tar.Header{Name: "a", Typeflag: tar.TypeReg, Mode: 0o755, PAXRecords: map[string]string{
		"SCHILY.xattr.security.capability": "\x01\x00", "APK-TOOLS.checksum.SHA1": "x",
	}})
	tr := New()
	if err := tr.Apply(bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	if got := tr.Entries()[0].Xattrs; len(got) != 1 || got["security.capability"] != "\x01\x00" {
		t.Errorf("got %q", got)
	}
}

func TestResolve(t *testing.T) {
	tr, err := merge(t, "f usr/bin/x x\nl bin usr/bin\nl usr/bin/y x\nl gone nowhere")
	if err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]string{
		"bin/x": "usr/bin/x", "/bin/y": "usr/bin/y", "bin": "bin", "usr/bin/": "usr/bin",
		"bin/z": "", "none/x": "", "gone/x": "", "usr/bin/x/y": "", "": "",
	} {
		if got, ok := tr.Resolve(p); got != want || ok != (want != "") {
			t.Errorf("%q resolves to %q, %v", p, got, ok)
		}
	}
	if f, ok := tr.File("bin/x"); !ok || string(f.Data) != "x" {
		t.Errorf("File gave %v, %v", f, ok)
	}
	if _, ok := tr.File("bin/y"); ok {
		t.Error("a symbolic link was taken for a file")
	}
}

func TestAdd(t *testing.T) {
	tr, err := merge(t, "d usr/bin\nl bin usr/bin\nf f x")
	if err != nil {
		t.Fatal(err)
	}
	file := &Inode{Mode: 0o100444}
	if err := tr.Add("/bin/sub/x", file); err != nil {
		t.Fatal(err)
	}
	if got, ok := tr.File("usr/bin/sub/x"); !ok || got != file {
		t.Errorf("got %v, %v", got, ok)
	}
	for _, p := range []string{"f", "f/x", "usr/bin"} {
		if err := tr.Add(p, file); err == nil {
			t.Errorf("%s was added", p)
		}
	}
}

func FuzzApply(f *testing.F) {
	f.Add(layer(f, "d ./\nd d 1777\nf d/f data 4755\nl s d\nh s/h s/f\nc null 1:3\np pipe"), layer(f, "w s/.wh.f\nw .wh..wh..opq\nf s x"))
	f.Add(layer(f, "f a/b x\nl c a/../../a\nf c/d y"), layer(f, "w c/.wh..wh..opq\nd c"))
	f.Add(header(f, tar.Header{Name: strings.Repeat("é", 200), Typeflag: tar.TypeSymlink, Linkname: strings.Repeat("b", 300)}), []byte{})
	f.Fuzz(func(t *testing.T, lower, upper []byte) {
		tr := New()
		if tr.Apply(bytes.NewReader(lower)) != nil || tr.Apply(bytes.NewReader(upper)) != nil {
			return
		}
		dirs := map[string]bool{"": true}
		for _, e := range tr.Entries() {
			parent := ""
			if i := strings.LastIndexByte(e.Path, '/'); i >= 0 {
				parent = e.Path[:i]
			}
			name := e.Path[strings.LastIndexByte(e.Path, '/')+1:]
			if !dirs[parent] || name == "" || name == "." || name == ".." {
				t.Fatalf("%q has no directory before it or a bad name", e.Path)
			}
			if e.IsDir() {
				dirs[e.Path] = true
			}
			if at, ok := tr.Resolve(e.Path); !ok || at != e.Path {
				t.Fatalf("%q resolves to %q, %v", e.Path, at, ok)
			}
		}
	})
}
