package client

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/protocol"
)

// answering gives every request the same answer.
func answering(status int, header map[string]string, body ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		for name, value := range header {
			w.Header().Set(name, value)
		}
		w.WriteHeader(status)
		for _, b := range body {
			io.WriteString(w, b)
		}
	}
}

// tunnel connects a client of w with an address, both ways.
func tunnel(t *testing.T, w http.ResponseWriter, address string) {
	there, err := net.Dial("tcp", address)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	w.WriteHeader(http.StatusOK)
	here, buffered, err := w.(http.Hijacker).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	go func() {
		io.Copy(there, buffered)
		there.Close()
	}()
	io.Copy(here, there)
	here.Close()
}

// TestTLS is the list "TLS and HTTP" of what an attacker or an accident may do.
func TestTLS(t *testing.T) {
	t.Run("rogue CA", func(t *testing.T) {
		g := &granting{t: t}
		s := newServer(t, g)
		c := s.client()
		c.Trust.Roots = newAuthority(t, testNow.Add(-time.Hour), testNow.Add(time.Hour)).pool()
		wantUntrusted(t, attest(t, c), "unknown authority")
		if g.requests != 0 {
			t.Error("something was sent")
		}
	})
	t.Run("wrong pin", func(t *testing.T) {
		for name, roots := range map[string]bool{"alone": false, "with a good CA": true} {
			t.Run(name, func(t *testing.T) {
				s := newServer(t, &granting{t: t})
				c := s.client()
				if !roots {
					c.Trust.Roots = nil
				}
				c.Trust.Pins = []Pin{{1}}
				e := wantUntrusted(t, attest(t, c), "none of those that are pinned")
				if e.Clock {
					t.Error("it blames the clock")
				}
			})
		}
	})
	t.Run("TLS 1.2", func(t *testing.T) {
		s := newServer(t, &granting{t: t}, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 })
		wantUnreachable(t, attest(t, s.client()), "protocol version")
	})
	t.Run("redirect", testRedirect)
	for _, status := range []int{401, 403, 404} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			body, _ := json.Marshal(protocol.Problem{Code: "not-enrolled", Message: "ask\x1b[2J your\noperator"})
			var n atomic.Int32
			s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				n.Add(1)
				answering(status, map[string]string{"Retry-After": "60"}, string(body))(w, r)
			}))
			c := s.client()
			e, ok := errors.AsType[*Refused](attest(t, c))
			if !ok || *e != (Refused{status, "not-enrolled", "ask [2J your operator", time.Minute}) {
				t.Errorf("%+v", e)
			}
			if n.Load() != 1 {
				t.Errorf("it was asked %d times", n.Load())
			}
			c = newServer(t, answering(status, nil, "<html>")).client()
			if e, ok := errors.AsType[*Refused](attest(t, c)); !ok || e.Code != fmt.Sprintf("http-%d", status) {
				t.Errorf("without a problem's body: %+v", e)
			}
		})
	}
	for _, status := range []int{429, 500, 503} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			s := newServer(t, answering(status, map[string]string{"Retry-After": "2"}, `{"code":"busy","message":"come again"}`))
			e := wantUnreachable(t, attest(t, s.client()), "come again")
			if e.After != 2*time.Second {
				t.Errorf("after %v", e.After)
			}
		})
	}
	t.Run("slow header", func(t *testing.T) {
		s := newServer(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		}))
		c := s.client()
		c.limits.answer = 50 * time.Millisecond
		wantUnreachable(t, attest(t, c), "timeout awaiting response headers")
	})
	t.Run("slow body", func(t *testing.T) {
		s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			for r.Context().Err() == nil {
				io.WriteString(w, " ")
				w.(http.Flusher).Flush()
				time.Sleep(time.Millisecond)
			}
		}))
		c := s.client()
		c.limits.body = 50 * time.Millisecond
		wantUnreachable(t, attest(t, c), "reading the answer")
	})
	t.Run("endless body", func(t *testing.T) {
		for _, status := range []int{200, 403} {
			s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				w.WriteHeader(status)
				for r.Context().Err() == nil {
					w.Write(make([]byte, 64<<10))
				}
			}))
			wantUnreachable(t, attest(t, s.client()), "more than")
		}
	})
	t.Run("endless header", func(t *testing.T) {
		s := newServer(t, raw("HTTP/1.1 200 OK\r\nX: "+string(bytes.Repeat([]byte("x"), 2*maxHeader))+"\r\n\r\n"))
		wantUnreachable(t, attest(t, s.client()), "exceeded")
	})
	t.Run("wrong length", func(t *testing.T) {
		for length, says := range map[string]string{"100": "unexpected EOF", "1": "reading the response", "-1": "bad Content-Length", "x": "bad Content-Length"} {
			s := newServer(t, raw("HTTP/1.1 200 OK\r\nContent-Length: "+length+"\r\n\r\n{}"))
			wantUnreachable(t, attest(t, s.client()), says)
		}
	})
	t.Run("gzip bomb", func(t *testing.T) {
		var bomb bytes.Buffer
		z := gzip.NewWriter(&bomb)
		z.Write(make([]byte, 100<<20))
		z.Close()
		s := newServer(t, answering(200, map[string]string{"Content-Encoding": "gzip"}, bomb.String()))
		wantUnreachable(t, attest(t, s.client()), `in the encoding "gzip"`)
	})
	t.Run("disconnect", testDisconnect)
	t.Run("resumption after a server change", func(t *testing.T) {
		var resumed atomic.Bool
		g := &granting{t: t}
		s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			resumed.Store(r.TLS.DidResume)
			g.ServeHTTP(w, r)
		}))
		c := s.client()
		c.Trust.Pins = []Pin{PinOf(s.cert.Leaf)}
		for range 2 {
			if _, err := Attest(t.Context(), newTPM(t), c); err != nil || resumed.Load() {
				t.Fatalf("resumed: %v, %v", resumed.Load(), err)
			}
		}
		if bytes.Equal(g.exported[0], g.exported[1]) {
			t.Error("two attempts share a connection")
		}
		changed := s.ca.issue(t, testNow.Add(-time.Hour), testNow.Add(time.Hour))
		s.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return &tls.Config{Certificates: []tls.Certificate{changed}}, nil
		}
		wantUntrusted(t, attest(t, c), "none of those that are pinned")
	})
	t.Run("DNS failure", func(t *testing.T) {
		c := newServer(t, &granting{t: t}).client()
		c.URL = "https://gone.example"
		c.resolver = resolver(t, nil)
		wantUnreachable(t, attest(t, c), "lookup gone.example")
	})
	t.Run("IPv6 black hole", func(t *testing.T) {
		s := newServer(t, &granting{t: t})
		_, port, err := net.SplitHostPort(s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		blackHole(t, port)
		c := s.client()
		c.URL = "https://test.example:" + port
		c.resolver = resolver(t, map[string]bool{"test.example.": true})
		c.limits.connect = time.Hour
		if _, err := Attest(t.Context(), newTPM(t), c); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("RTC", testRTC)
}

// testRedirect has a client that must not send what it is redirected with.
func testRedirect(t *testing.T) {
	var followed atomic.Bool
	target := newServer(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Store(true) }))
	plain, err := url.Parse(target.URL)
	if err != nil {
		t.Fatal(err)
	}
	plain.Scheme = "http"
	for name, to := range map[string]string{"to another host": target.URL, "to http": plain.String(), "in a loop": protocol.Path} {
		t.Run(name, func(t *testing.T) {
			for _, status := range []int{301, 302, 303, 307, 308} {
				var n atomic.Int32
				s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					n.Add(1)
					answering(status, map[string]string{"Location": to})(w, r)
				}))
				c := s.client()
				c.Trust.Roots.AddCert(target.ca.cert)
				wantUnreachable(t, attest(t, c), "not followed")
				if followed.Load() || n.Load() != 1 {
					t.Errorf("%d was followed", status)
				}
			}
		})
	}
}

// raw answers with bytes, and hangs up.
func raw(answer string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		io.WriteString(c, answer)
		c.Close()
	}
}

func testDisconnect(t *testing.T) {
	t.Run("no listener", func(t *testing.T) {
		s := newServer(t, &granting{t: t})
		c := s.client()
		s.Close()
		wantUnreachable(t, attest(t, c), "refused")
	})
	for name, handle := range map[string]func(net.Conn){
		"at once":                 func(net.Conn) {},
		"after the ClientHello":   func(c net.Conn) { c.Read(make([]byte, 4096)) },
		"in the ServerHello":      func(c net.Conn) { c.Read(make([]byte, 4096)); io.WriteString(c, "\x16\x03\x03\x00\x7a\x02\x00") },
		"with something else":     func(c net.Conn) { c.Read(make([]byte, 4096)); io.WriteString(c, "HTTP/1.0 400 Bad Request\r\n\r\n") },
		"never, but no handshake": func(c net.Conn) { io.Copy(io.Discard, c) },
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					go func() {
						handle(c)
						c.Close()
					}()
				}
			}()
			c := newServer(t, &granting{t: t}).client()
			c.URL = "https://" + l.Addr().String()
			c.limits.handshake = 100 * time.Millisecond
			wantUnreachable(t, attest(t, c), "")
		})
	}
	for name, handle := range map[string]http.HandlerFunc{
		"after the header of the request": func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) },
		"after the request":               raw(""),
		"in the status":                   raw("HTTP/1.1 2"),
		"in the header":                   raw("HTTP/1.1 200 OK\r\nContent-"),
		"after the header":                raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
		"in the body":                     raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"ver"),
		"in a chunk":                      raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{\"ver"),
		"in the JSON":                     raw("HTTP/1.1 200 OK\r\n\r\n{\"ver"),
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, handle)
			wantUnreachable(t, attest(t, s.client()), "")
		})
	}
	t.Run("the machine's", func(t *testing.T) {
		s := newServer(t, &granting{t: t})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		c := s.client()
		if _, err := Attest(ctx, newTPM(t), c); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// testRTC has machines that think it is 1970 or 2099, or the date of their build because it was 1970.
func testRTC(t *testing.T) {
	built := testNow.Add(-30 * 24 * time.Hour)
	s := newServer(t, &granting{t: t})
	pin := []Pin{PinOf(s.cert.Leaf)}
	for name, clock := range map[string]Clock{
		"1970":         Judge(time.Unix(3, 0), 3*time.Second, built),
		"2099":         Judge(time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC), 3*time.Second, built),
		"of the build": Judge(built.Add(3*time.Second), 4*time.Second, built),
	} {
		t.Run(name, func(t *testing.T) {
			c := s.client()
			c.Clock = clock
			e := wantUntrusted(t, attest(t, c), "clock")
			if !e.Clock {
				t.Error("it does not say that it is the clock")
			}
			c.Trust.Pins = pin
			result, err := Attest(t.Context(), newTPM(t), c)
			if err != nil {
				t.Fatal(err)
			}
			if !result.Doubtful || !result.Grant.Time.Equal(testNow.Truncate(time.Second)) {
				t.Errorf("the time is %v, doubtful before: %v", result.Grant.Time, result.Doubtful)
			}
			c.Trust.Roots = newAuthority(t, testNow.Add(-time.Hour), testNow.Add(time.Hour)).pool()
			wantUntrusted(t, attest(t, c), "unknown authority")
		})
	}
	t.Run("right and the certificate expired", func(t *testing.T) {
		c := s.client()
		c.Trust.Pins = pin
		c.Clock = Judge(testNow.Add(2*time.Hour), time.Minute, built)
		if e := wantUntrusted(t, attest(t, c), "expired"); e.Clock {
			t.Error("it blames the clock")
		}
	})
}

func FuzzRefusal(f *testing.F) {
	f.Add(403, []byte(`{"code":"not-enrolled","message":"a"}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		err := refusal(status, http.Header{}, body)
		_, refused := errors.AsType[*Refused](err)
		_, gone := errors.AsType[*Unreachable](err)
		if refused == gone {
			t.Errorf("%T", err)
		}
		for _, r := range err.Error() {
			if r < ' ' || r == 0x7f {
				t.Errorf("%q has control characters", err)
			}
		}
	})
}
