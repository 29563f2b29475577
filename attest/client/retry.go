package client

import (
	"net/http"
	"strconv"
	"time"
)

const maxAfter = 15 * time.Minute // the longest that a server is obeyed

// after reads Retry-After (RFC 9110, 10.2.3), where a date is compared with the server's own.
func after(h http.Header) time.Duration {
	value := h.Get("Retry-After")
	d := time.Duration(0)
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		d = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		if now, err := http.ParseTime(h.Get("Date")); err == nil {
			d = at.Sub(now)
		}
	}
	return min(max(d, 0), maxAfter)
}
