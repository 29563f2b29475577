package fetch

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	remoteserrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/containerd/v2/pkg/reference"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// problem is an error that says what is wrong and what to do, and all of it.
type problem string

func (p problem) Error() string { return string(p) }

// interrupted is an error after some of an image had come.
type interrupted struct{ error }

func (e interrupted) Unwrap() error { return e.error }

var errStalled = errors.New("nothing came any more")

type notImageError string

func (e notImageError) Error() string { return string(e) }

func notImage(why string) error { return notImageError(why) }

// platformError is of an image that is for other platforms only.
type platformError []ocispec.Platform

func (e platformError) Error() string { return "wrong platform" }

func wrongPlatform(have []ocispec.Platform) error { return platformError(have) }

// resumable tells whether what was received is worth keeping for another try: only
// the way to the registry is to blame. One that answers, but not with what it was
// asked for, may not be able to go on in the middle.
func resumable(err error) bool {
	if err == nil || ofImage("", err) != "" || ofSpace("", err) != "" || ofContent("", err) != "" {
		return false
	}
	if e, ok := errors.AsType[remoteserrors.ErrUnexpectedStatus](err); ok {
		return e.StatusCode >= 500
	}
	_, broken := errors.AsType[interrupted](err)
	return broken || isNetwork(err) || errors.Is(err, errStalled)
}

// sentence says what is wrong with fetching ref and what to do about it, in one line.
func sentence(ref string, err error) string {
	if p, ok := errors.AsType[problem](err); ok {
		return oneLine(string(p))
	}
	host := ref
	if spec, err := reference.Parse(ref); err == nil {
		host = spec.Hostname()
	}
	what := cmp.Or(
		ofImage(ref, err), ofSpace(ref, err), ofContent(ref, err),
		ofStatus(host, ref, err), ofCertificate(host, err), ofNetwork(host, ref, err),
		fmt.Sprintf("fetching %s: %v", ref, withoutURL(err)),
	)
	return oneLine(what)
}

func ofImage(ref string, err error) string {
	if e, ok := errors.AsType[notImageError](err); ok {
		return fmt.Sprintf("%s is not an image of a container: %v; name the agent's image", ref, e)
	}
	if e, ok := errors.AsType[programError](err); ok {
		return fmt.Sprintf("%s has no agent: %v; name the agent's image", ref, e)
	}
	if have, ok := errors.AsType[platformError](err); ok {
		var names []string
		for _, p := range have {
			names = append(names, platforms.Format(p))
		}
		return fmt.Sprintf("%s is for %s, and this machine is %s: name an image that is for both", ref, orList(names), platforms.DefaultString())
	}
	return ""
}

// ofSpace explains what is full: our file's disk or containerd's. The latter's errors
// come over a socket as text.
func ofSpace(ref string, err error) string {
	if !errors.Is(err, syscall.ENOSPC) && !strings.Contains(err.Error(), syscall.ENOSPC.Error()) {
		return ""
	}
	return "there is no room for " + ref + ": the memory or the disk that holds it is full; give the machine more memory, or a disk with ember.scratch"
}

// ofContent explains errors of containerd's content store.
func ofContent(ref string, err error) string {
	switch {
	case errdefs.IsFailedPrecondition(err):
		return fmt.Sprintf("what came as %s does not have the digest it should have (%v): push the image again, and see whether something on the way changes it", ref, err)
	case errdefs.IsUnavailable(err):
		return fmt.Sprintf("containerd stopped answering while %s was fetched: see what its log says", ref)
	}
	return ""
}

func ofStatus(host, ref string, err error) string {
	if errors.Is(err, docker.ErrInvalidAuthorization) {
		return fmt.Sprintf("%s refuses to give us %s (401 Unauthorized): check registry_username and registry_password, and that the image exists", host, ref)
	}
	if e, ok := errors.AsType[remoteserrors.ErrUnexpectedStatus](err); ok {
		status := fmt.Sprintf("%d %s", e.StatusCode, http.StatusText(e.StatusCode))
		switch {
		case e.StatusCode == http.StatusUnauthorized, e.StatusCode == http.StatusForbidden:
			return fmt.Sprintf("%s refuses to give us %s (%s): check registry_username and registry_password, and that the image exists", host, ref, status)
		case e.StatusCode == http.StatusNotFound:
			return noSuchImage(host, ref)
		case e.StatusCode == http.StatusTooManyRequests:
			return fmt.Sprintf("%s has had too many requests for now (%s): wait, or give registry_username and registry_password", host, status)
		case e.StatusCode == http.StatusBadRequest && strings.HasPrefix(e.RequestURL, "http:"):
			return fmt.Sprintf("%s does not understand plain HTTP (%s): if it speaks HTTPS, take it out of insecure_registries", host, status)
		case e.StatusCode >= 500:
			return fmt.Sprintf("%s has a fault (%s): see its log", host, status)
		}
		return fmt.Sprintf("%s answers %s to a request for %s: see its log", host, status, ref)
	}
	if errdefs.IsNotFound(err) {
		return noSuchImage(host, ref)
	}
	return ""
}

func noSuchImage(host, ref string) string {
	return fmt.Sprintf("%s has no image %s (404 Not Found): check its name and its tag", host, ref)
}

func ofCertificate(host string, err error) string {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return fmt.Sprintf("the certificate of %s is signed by an authority that is not trusted here: put the authority's certificate into /etc/ssl/ember.d", host)
	}
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		return fmt.Sprintf("the certificate of %s is not for that name (%v): use a name that is in it", host, e)
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		if e.Reason == x509.Expired {
			return fmt.Sprintf("the certificate of %s has expired or is not valid yet (%v): renew it, and check the clock", host, e)
		}
		return fmt.Sprintf("the certificate of %s is not valid (%v): make a right one", host, e)
	}
	if isPlainHTTP(err) {
		return fmt.Sprintf("%s speaks plain HTTP instead of HTTPS: if that is meant so, list it in insecure_registries", host)
	}
	return ""
}

func ofNetwork(host, ref string, err error) string {
	what := "the registry " + host
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "proxyconnect" {
		what = "the proxy on the way to " + host
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		if e.IsNotFound {
			return fmt.Sprintf("there is no host %s in the DNS: check the name, and the nameservers in /etc/resolv.conf", e.Name)
		}
		return fmt.Sprintf("the nameservers in /etc/resolv.conf do not answer for %s: check them and the network", e.Name)
	}
	if _, ok := errors.AsType[interrupted](err); ok {
		return fmt.Sprintf("%s broke off in the middle of %s (%s): see whether it runs; what came is kept", what, ref, cause(err))
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("%s refuses connections: check its address and port, and that it runs", what)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return fmt.Sprintf("there is no way to %s (%s): check the network and its gateway", what, cause(err))
	case errors.Is(err, errStalled), isTimeout(err):
		return fmt.Sprintf("%s does not answer: check its address, the network, and firewalls on the way", what)
	case isNetwork(err):
		return fmt.Sprintf("%s cannot be talked to (%s): check that it is one", what, cause(err))
	}
	return ""
}

func isNetwork(err error) bool {
	_, isURL := errors.AsType[*url.Error](err)
	_, isOp := errors.AsType[*net.OpError](err)
	return isURL || isOp
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}
