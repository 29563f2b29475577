package fetch

import (
	"crypto/tls"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"syscall"
)

// isPlainHTTP tells whether a server answered plain HTTP to TLS.
func isPlainHTTP(err error) bool {
	e, ok := errors.AsType[tls.RecordHeaderError](err)
	return ok && string(e.RecordHeader[:]) == "HTTP/" || errors.Is(err, http.ErrSchemeMismatch)
}

// cause is the innermost reason in a few words.
func cause(err error) string {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno.Error()
	}
	return withoutURL(err).Error()
}

// withoutURL leaves out addresses, which may be long and hold passwords.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

func orList(names []string) string {
	if len(names) == 0 {
		return "no platform"
	}
	return strings.Join(names, ", ")
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
