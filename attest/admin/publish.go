package admin

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	"github.com/ember-os/ember/attest/overlay/depot"
	"github.com/ember-os/ember/attest/overlay/seal"
)

// Overlays lists the overlays.
func (c *Client) Overlays(ctx context.Context) (list []depot.Overlay, err error) {
	err = c.get(ctx, "/v1/overlays", &list)
	return list, err
}

// Overlay is one of them.
func (c *Client) Overlay(ctx context.Context, name string) (o depot.Overlay, err error) {
	err = c.get(ctx, "/v1/overlays/"+url.PathEscape(name), &o)
	return o, err
}

// Manifest is the signed manifest of a version.
func (c *Client) Manifest(ctx context.Context, name string, version uint64) ([]byte, error) {
	return c.do(ctx, http.MethodGet, versionPath(name, version)+"/manifest", "", nil)
}

// Publish publishes the overlay in a folder. Sent is told how many bytes have gone; it may be nil.
func (c *Client) Publish(ctx context.Context, name, folder string, sent func(int64)) (v depot.Version, err error) {
	out, in := io.Pipe()
	form := multipart.NewWriter(in)
	go func() {
		in.CloseWithError(writeForm(form, folder, sent))
	}()
	defer out.Close()
	err = c.call(ctx, http.MethodPost, "/v1/overlays/"+url.PathEscape(name), form.FormDataContentType(), out, &v)
	return v, err
}

// writeForm writes the files of an overlay: those that are elsewhere are not sent.
func writeForm(form *multipart.Writer, folder string, sent func(int64)) error {
	files := []string{seal.ManifestFile, seal.CiphertextFile}
	if _, err := os.Stat(filepath.Join(folder, seal.AddressFile)); err == nil {
		files = []string{seal.ManifestFile, seal.AddressFile, seal.HeaderFile}
	}
	for _, file := range files {
		f, err := os.Open(filepath.Join(folder, file))
		if err != nil {
			return fmt.Errorf("reading the overlay: %w", err)
		}
		part, err := form.CreateFormFile(file, file)
		if err == nil {
			_, err = io.Copy(&counter{part, sent}, f)
		}
		f.Close()
		if err != nil {
			return err
		}
	}
	return form.Close()
}

type counter struct {
	io.Writer
	sent func(int64)
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.Writer.Write(b)
	if c.sent != nil {
		c.sent(int64(n))
	}
	return n, err
}

// Reissue publishes the contents of a version under a new manifest, which is signed.
func (c *Client) Reissue(ctx context.Context, name string, from uint64, signed []byte) (v depot.Version, err error) {
	err = c.call(ctx, http.MethodPost, versionPath(name, from)+"/reissue", "text/plain", bytes.NewReader(signed), &v)
	return v, err
}

// Downgrade publishes an older version as it is.
func (c *Client) Downgrade(ctx context.Context, name string, version uint64) (v depot.Version, err error) {
	err = c.call(ctx, http.MethodPost, versionPath(name, version)+"/downgrade", "", nil, &v)
	return v, err
}

func versionPath(name string, version uint64) string {
	return fmt.Sprintf("/v1/overlays/%s/%d", url.PathEscape(name), version)
}
