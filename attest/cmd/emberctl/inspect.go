package main

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/ember-os/ember/attest/overlay/archive"
	"github.com/ember-os/ember/attest/overlay/extract"
	"github.com/ember-os/ember/attest/overlay/manifest"
	"github.com/ember-os/ember/attest/overlay/seal"
)

// inspection is what the flags of inspect say.
type inspection struct {
	trust    []string
	identity string
	json     bool
}

// report is what inspect finds.
type report struct {
	*manifest.Manifest
	// Trusted tells whether a key that was given has signed it; without one, nobody knows.
	Trusted bool `json:"trusted"`
	// URL is where the ciphertext is, if that is said.
	URL string `json:"url,omitempty"`
	// Checked is what of the ciphertext was compared with the manifest: "", "digest" or "contents".
	Checked string  `json:"checked,omitempty"`
	Content []entry `json:"content,omitempty"`
}

// entry is one file of the archive.
type entry struct {
	Path   string `json:"path"`
	Mode   string `json:"mode"` // as ls has it
	UID    int    `json:"uid"`
	GID    int    `json:"gid"`
	Size   int64  `json:"size"`
	Target string `json:"target,omitempty"`
}

func (a *app) inspect() *cobra.Command {
	var i inspection
	c := &cobra.Command{
		Use:   "inspect FOLDER|MANIFEST",
		Short: "Show an overlay, and whether it is right",
		Long: `Print the manifest of an overlay: of a folder, or a manifest alone. With overlay.age
beside it, it makes sure that this is what the manifest says. If something is wrong
the exit status is 1.`,
		Example: `  emberctl inspect overlays/rack --trust keys/overlay.keys
  emberctl inspect overlays/rack --identity keys/attestd.identity --json`,
		Args: takes("one overlay"),
		RunE: func(_ *cobra.Command, args []string) error {
			r, err := i.inspect(args[0])
			if err != nil {
				return err
			}
			return i.print(a.stdout, r)
		},
	}
	c.Flags().StringArrayVar(&i.trust, "trust", nil, "public key that must have signed it, or a file of such; may be repeated")
	c.Flags().StringVar(&i.identity, "identity", "", "the server's: also reads the archive to its end, and lists it")
	jsonFlag(c, &i.json)
	return c
}

func (i *inspection) inspect(path string) (*report, error) {
	folder := ""
	if info, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("looking at the overlay: %w", err)
	} else if info.IsDir() {
		folder, path = path, filepath.Join(path, seal.ManifestFile)
	}
	r, err := i.readManifest(path)
	if err != nil || folder == "" {
		if err == nil && i.identity != "" {
			return nil, misuse("--identity is for a folder, which has %s beside the manifest", seal.CiphertextFile)
		}
		return r, err
	}
	if address, err := os.ReadFile(filepath.Join(folder, seal.AddressFile)); err == nil {
		r.URL = strings.TrimSpace(string(address))
	}
	return r, i.readCiphertext(filepath.Join(folder, seal.CiphertextFile), r)
}

func (i *inspection) readManifest(path string) (*report, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	keys, err := readTrusted(i.trust)
	if err != nil {
		return nil, err
	}
	r := &report{Trusted: len(keys) > 0}
	if r.Trusted {
		r.Manifest, err = manifest.Open(b, keys...)
	} else {
		r.Manifest, err = manifest.Peek(b)
	}
	return r, err
}

func (i *inspection) readCiphertext(path string, r *report) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) && i.identity == "" {
		return nil
	} else if err != nil {
		return err
	}
	defer f.Close()
	if i.identity == "" {
		r.Checked = "digest"
		h := sha256.New()
		n, err := io.Copy(h, f)
		if err == nil && (n != r.Ciphertext.Size || manifest.Digest(h.Sum(nil)) != r.Ciphertext.SHA256) {
			err = fmt.Errorf("%s is not the file that the manifest is about", path)
		}
		return err
	}
	r.Checked = "contents"
	key, err := i.fileKey(f)
	if err != nil {
		return err
	}
	return extract.Read(f, key, r.Manifest, func(e archive.Entry, _ io.Reader) error {
		r.Content = append(r.Content, entry{e.Path, mode(e), e.UID, e.GID, e.Size, e.Target})
		return nil
	})
}

func (i *inspection) fileKey(ciphertext io.ReaderAt) (age.Identity, error) {
	text, err := os.Open(i.identity)
	if err != nil {
		return nil, fmt.Errorf("reading the server's identity: %w", err)
	}
	defer text.Close()
	identities, err := age.ParseIdentities(text)
	if err != nil {
		return nil, fmt.Errorf("reading the server's identity: %w", err)
	}
	head, err := io.ReadAll(io.NewSectionReader(ciphertext, 0, seal.HeaderSize))
	if err != nil {
		return nil, err
	}
	fileKey, err := seal.FileKey(head, identities...)
	if err != nil {
		return nil, err
	}
	return extract.Open(fileKey)
}

func mode(e archive.Entry) string {
	return string("-dl"[e.Kind]) + e.Mode.Perm().String()[1:]
}

func (i *inspection) print(w io.Writer, r *report) error {
	if i.json {
		return printJSON(w, r)
	}
	b := bufio.NewWriter(w)
	row := func(name, text string) { fmt.Fprintf(b, "%-12s%s\n", name, text) }
	row("name", r.Name)
	row("version", fmt.Sprint(r.Version))
	row("signature", map[bool]string{true: "by a key that you trust", false: "not checked; give --trust"}[r.Trusted])
	row("created", r.Created.Format(time.RFC3339))
	row("expires", expires(r.Expires))
	row("nodes", nodes(r.Nodes))
	row("ciphertext", fmt.Sprintf("%d bytes, SHA-256 %s", r.Ciphertext.Size, r.Ciphertext.SHA256))
	if r.URL != "" {
		row("", "at "+r.URL)
	}
	row("", map[string]string{"": "not here to be checked", "digest": "checked", "contents": "checked with all that is in it"}[r.Checked])
	row("archive", fmt.Sprintf("%d bytes, %d entries", r.ArchiveSize, r.Entries))
	if r.Kernel != (manifest.Digest{}) {
		row("kernel", r.Kernel.String())
	}
	if r.Initrd != (manifest.Digest{}) {
		row("initrd", r.Initrd.String())
	}
	if len(r.Content) > 0 {
		fmt.Fprintln(b)
		listing(b, r.Content)
	}
	return b.Flush()
}

func expires(t time.Time) string {
	switch {
	case t.IsZero():
		return "never"
	case time.Now().After(t):
		return t.Format(time.RFC3339) + ", which is over"
	}
	return t.Format(time.RFC3339)
}

func nodes(ids []string) string {
	if len(ids) == 0 {
		return "all"
	}
	return strings.Join(ids, "\n            ")
}

func listing(w io.Writer, content []entry) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, e := range content {
		text := visible(e.Path)
		if e.Target != "" {
			text += " -> " + visible(e.Target)
		}
		fmt.Fprintf(t, "%s\t%d:%d\t%d\t  %s\n", e.Mode, e.UID, e.GID, e.Size, text)
	}
	t.Flush()
}

// visible quotes what a terminal might not show as it is.
func visible(s string) string {
	if quoted := strconv.QuoteToGraphic(s); quoted != `"`+s+`"` {
		return quoted
	}
	return s
}
