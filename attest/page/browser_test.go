package page

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/ember-os/ember/os/vm/vmtest"
	"github.com/ember-os/ember/tools/toolroot"
)

func TestMain(m *testing.M) {
	toolroot.Init()
	os.Exit(m.Run())
}

// browse has Chromium look at a page, in a scheme. Output is what it writes to standard output; files are made in
// the directory that it knows as /pictures.
func browse(t *testing.T, root toolroot.Root, pictures, scheme, address string, args ...string) []byte {
	t.Helper()
	preferred := map[string]string{"dark": "0", "light": "1"}[scheme]
	args = append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--user-data-dir=/tmp/profile", "--timeout=120000",
		"--blink-settings=preferredColorScheme=" + preferred,
	}, append(args, address)...)
	o := toolroot.Options{Binds: []toolroot.Bind{{Src: pictures, Dst: "/pictures", Write: true}}}
	cmd, err := root.Command(t.Context(), o, "/usr/lib/chromium/chromium-headless-shell", args...)
	if err != nil {
		t.Fatal(err)
	}
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Run(); err != nil {
		t.Fatalf("chromium: %v\n%s", err, &log)
	}
	return out.Bytes()
}

// TestBrowser has a real browser show the pages in both schemes, wide and on a phone. The
// pictures are kept with the test's outputs.
func TestBrowser(t *testing.T) {
	root := toolroot.Root{Marker: vmtest.File(t, "BROWSER_ROOT")}
	pictures := os.Getenv("TEST_UNDECLARED_OUTPUTS_DIR")
	if pictures == "" {
		pictures = t.TempDir()
	}
	r, h := open(t)
	fill(t, r, 3000)
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	for _, page := range []struct {
		name, path string
		height     int
	}{
		{"list", "/", 1000}, {"search", "/?q=rack&state=attested&tier=enrolled&sort=name&page=2", 1000},
		{"refused", "/machines/" + nodeOf(1), 1500}, {"attested", "/machines/" + nodeOf(4), 1700}, {"waiting", "/machines/" + nodeOf(5), 900},
	} {
		for _, scheme := range []string{"light", "dark"} {
			for _, width := range []int{1280, 500} {
				name := fmt.Sprintf("%s-%s-%d.png", page.name, scheme, width)
				t.Run(name, func(t *testing.T) {
					browse(t, root, pictures, scheme, s.URL+page.path, fmt.Sprintf("--window-size=%d,%d", width, page.height), "--screenshot=/pictures/"+name)
					look(t, filepath.Join(pictures, name), scheme, width, page.height)
				})
			}
		}
		t.Run(page.name+" as a document", func(t *testing.T) {
			shown, err := html.Parse(bytes.NewReader(browse(t, root, pictures, "light", s.URL+page.path, "--dump-dom")))
			if err != nil {
				t.Fatal(err)
			}
			_, sent := body(t, h, page.path)
			if got, want := textOf(shown), textOf(sent); got != want {
				t.Errorf("the browser has %.300q, sent was %.300q", got, want)
			}
		})
	}
}

// look checks that a picture is one of our page with its style: its ground has the scheme's colour, and there is
// something on it, but nothing runs into the right margin.
func look(t *testing.T, path, scheme string, width, height int) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	picture, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	if size := picture.Bounds().Size(); size != image.Pt(width, height) {
		t.Fatalf("the picture has %v", size)
	}
	ground, err := parseColour(colours(t)[scheme]["paper"])
	if err != nil {
		t.Fatal(err)
	}
	other := 0
	for y := 0; y < height; y++ {
		for x := 0; x < width; x++ {
			if near(picture.At(x, y), ground) {
				continue
			}
			other++
			if x >= width-4 || x < 4 {
				t.Fatalf("something is at the edge, at %d, %d", x, y)
			}
		}
	}
	if part := float64(other) / float64(width*height); part < 0.01 || part > 0.6 {
		t.Errorf("%.1f%% of the picture is not ground", part*100)
	}
}

func parseColour(s string) (color.RGBA, error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(s, "#"), 16, 32)
	if err != nil || len(s) != 7 {
		return color.RGBA{}, errors.Join(fmt.Errorf("%q is no colour", s), err)
	}
	return color.RGBA{uint8(n >> 16), uint8(n >> 8), uint8(n), 255}, nil
}

// near allows for how a browser rounds.
func near(c color.Color, want color.RGBA) bool {
	r, g, b, _ := c.RGBA()
	off := func(a uint32, b uint8) bool { return max(a>>8, uint32(b))-min(a>>8, uint32(b)) > 2 }
	return !off(r, want.R) && !off(g, want.G) && !off(b, want.B)
}
