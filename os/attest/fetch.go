package attest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/ember-os/ember/os/download"
)

// fetcher gets overlays from where the server says that they are.
type fetcher struct {
	server *url.URL     // of attestation: what URLs are relative to, as if a "/" followed it
	known  *http.Client // for it
	others *http.Client // for everybody else
}

// open gives the contents of a URL that has size bytes, whose SHA-256 is digest, in hex. Both are only used to
// ask for it: what is read has to be checked. Besides those of the web, "oci://REGISTRY/NAME" is the blob of that
// digest in a repository of a registry.
func (f fetcher) open(ctx context.Context, where string, size int64, digest string) (io.ReadCloser, error) {
	base := *f.server
	base.Path += "/"
	u, err := base.Parse(where)
	if err != nil {
		return nil, errors.New("fetching the overlay: its address is not a URL")
	}
	s := download.Source{Client: f.others, URL: u, Name: "the overlay", Size: size}
	switch {
	case u.Scheme == "oci":
		s.URL, s.Authorize = ociBlob(u, digest), token{f.others}.fetch
	case u.Scheme == f.server.Scheme && u.Host == f.server.Host:
		s.Client = f.known
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("fetching the overlay: its address begins with %.20q, not with https, http or oci", u.Scheme)
	}
	return download.Open(ctx, s), nil
}
