package fetch

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	remoteserrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// asked wraps an error as an HTTP client does.
func asked(err error) error {
	return fmt.Errorf("failed to do request: %w", &url.Error{Op: "Head", URL: "https://r.example.com/v2/?sig=SECRET", Err: err})
}

func dialed(op string, errno syscall.Errno) error {
	return asked(&net.OpError{Op: op, Net: "tcp", Err: os.NewSyscallError("connect", errno)})
}

func status(code int, url string) error {
	return fmt.Errorf("pulling: %w", remoteserrors.ErrUnexpectedStatus{StatusCode: code, RequestURL: url})
}

func TestSentences(t *testing.T) {
	const ref, host = "r.example.com/tink-agent:latest", "r.example.com"
	for want, err := range map[string]error{
		host + " refuses to give us " + ref + " (401 Unauthorized): check registry_username":               fmt.Errorf("pull access denied: %w", docker.ErrInvalidAuthorization),
		host + " refuses to give us " + ref + " (403 Forbidden): check registry_username":                  status(403, ""),
		host + " has no image " + ref + " (404 Not Found): check its name":                                 fmt.Errorf("%s: %w", ref, errdefs.ErrNotFound),
		host + " has had too many requests for now (429 Too Many Requests): wait":                          status(429, ""),
		host + " has a fault (503 Service Unavailable): see its log":                                       status(503, ""),
		host + " does not understand plain HTTP (400 Bad Request): if it speaks HTTPS":                     status(400, "http://r.example.com/v2/"),
		host + " answers 400 Bad Request to a request for " + ref:                                          status(400, "https://r.example.com/v2/"),
		"the certificate of " + host + " is signed by an authority that is not trusted here: put":          asked(&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}),
		"the certificate of " + host + " is not for that name (":                                           asked(x509.HostnameError{Certificate: &x509.Certificate{DNSNames: []string{"x"}}, Host: host}),
		"the certificate of " + host + " has expired or is not valid yet (x509: certificate has expired":   asked(x509.CertificateInvalidError{Reason: x509.Expired, Detail: "now"}),
		"the certificate of " + host + " is not valid (":                                                   asked(x509.CertificateInvalidError{Reason: x509.NotAuthorizedToSign}),
		host + " speaks plain HTTP instead of HTTPS: if":                                                   asked(http.ErrSchemeMismatch),
		"there is no host " + host + " in the DNS: check":                                                  asked(&net.OpError{Op: "dial", Err: &net.DNSError{Name: host, IsNotFound: true}}),
		"the nameservers in /etc/resolv.conf do not answer for " + host + ": check":                        asked(&net.OpError{Op: "dial", Err: &net.DNSError{Name: host, IsTimeout: true}}),
		"the registry " + host + " refuses connections: check":                                             dialed("dial", syscall.ECONNREFUSED),
		"the proxy on the way to " + host + " refuses connections: check":                                  dialed("proxyconnect", syscall.ECONNREFUSED),
		"there is no way to the registry " + host + " (no route to host): check":                           dialed("dial", syscall.EHOSTUNREACH),
		"there is no way to the registry " + host + " (network is unreachable): check":                     dialed("dial", syscall.ENETUNREACH),
		"the registry " + host + " does not answer: check":                                                 dialed("dial", syscall.ETIMEDOUT),
		"the registry " + host + " cannot be talked to (EOF":                                               asked(errors.New("EOF")),
		"the registry " + host + " broke off in the middle of " + ref + " (connection reset by peer): see": interrupted{dialed("read", syscall.ECONNRESET)},
		"there is no room for " + ref + ": the memory":                                                     interrupted{errors.New("rpc error: code = Unknown desc = write: no space left on device")},
		"there is no room for " + ref + ": the memory or":                                                  &os.PathError{Op: "write", Err: syscall.ENOSPC},
		"containerd stopped answering while " + ref + " was fetched: see":                                  fmt.Errorf("x: %w", errdefs.ErrUnavailable),
		"what came as " + ref + " does not have the digest it should have (":                               interrupted{fmt.Errorf("x: %w", errdefs.ErrFailedPrecondition)},
		ref + " is for linux/arm64, linux/s390x, and this machine is ":                                     wrongPlatform([]ocispec.Platform{{OS: "linux", Architecture: "arm64"}, {OS: "linux", Architecture: "s390x"}}),
		ref + " is for no platform, and this machine is ":                                                  wrongPlatform(nil),
		ref + " is not an image of a container: it is a poem; name the agent's image":                      notImage("it is a poem"),
		ref + " has no agent: there is no a, b in it; name the agent's image":                              programError{wanted: []string{"a", "b"}},
		"containerd does not answer at /run/x.sock: see what its log says (x)":                             noContainerd("/run/x.sock", errors.New("x")),
		"fetching " + ref + ": out of ideas and words":                                                     errors.New("out of ideas\n and\twords"),
		"fetching " + ref + ": open /x: file does not exist":                                               &os.PathError{Op: "open", Path: "/x", Err: os.ErrNotExist},
	} {
		got := sentence(ref, err)
		if !strings.HasPrefix(got, want) || strings.Contains(got, "SECRET") || strings.Contains(got, "\n") {
			t.Errorf("%v\n got %q\nwant %q", err, got, want)
		}
	}
}

func TestResumable(t *testing.T) {
	for err, want := range map[error]bool{
		nil: false,
		interrupted{dialed("read", syscall.ECONNRESET)}:              true,
		dialed("read", syscall.ECONNRESET):                           true,
		status(503, ""):                                              true,
		interrupted{status(416, "")}:                                 false,
		&os.PathError{Op: "open", Err: os.ErrPermission}:             false,
		interrupted{errors.New("no space left on device")}:           false,
		interrupted{notImage("x")}:                                   false,
		interrupted{fmt.Errorf("%w", errdefs.ErrFailedPrecondition)}: false,
	} {
		if got := resumable(err); got != want {
			t.Errorf("%v: %v", err, got)
		}
	}
}
