// Package bootserver is an HTTP server that UEFI firmware boots a virtual machine from, and machines that keep what
// booted them fetch it from once more. It has one program, or none, and answers 503 (service unavailable) then.
package bootserver

import (
	"net/http"
	"strconv"
	"sync"
)

// Name is that of the program, in the URL http://HOST/Name.
const Name = "uki.efi"

// HTTPBoot is lines of dnsmasq.conf(5) that answer those who ask as UEFI HTTP boot does, as it wants to be answered,
// with a file of host's.
func HTTPBoot(host, file string) string {
	return "dhcp-vendorclass=set:http,HTTPClient\n" +
		"dhcp-option-force=tag:http,60,HTTPClient\n" +
		"dhcp-boot=tag:http,http://" + host + "/" + file
}

// Served is an answer.
type Served struct {
	Method string
	Status int
	Bytes  int // of the body
}

// Server is a handler. The zero Server has no program.
type Server struct {
	// Served, if it is set, hears of each answer once it was given.
	Served func(Served)

	mu      sync.Mutex
	program []byte
}

// Publish has the server serve a program; nil is none. It returns the one before.
func (s *Server) Publish(program []byte) (before []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, s.program = s.program, program
	return before
}

// Program is what is served.
func (s *Server) Program() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.program
}

// ServeHTTP answers every path with the program.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := Served{Method: r.Method, Status: http.StatusOK}
	if program := s.Program(); program == nil {
		answer.Status = http.StatusServiceUnavailable
		w.WriteHeader(answer.Status)
	} else {
		w.Header().Set("Content-Length", strconv.Itoa(len(program)))
		if r.Method != http.MethodHead {
			answer.Bytes, _ = w.Write(program) // who has gone away asks again
		}
	}
	if s.Served != nil {
		s.Served(answer)
	}
}
