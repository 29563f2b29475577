package syslog

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/ember-os/ember/os/logline"
	"github.com/ember-os/ember/os/netstate"
	"github.com/ember-os/ember/os/stage"
	"golang.org/x/sys/unix"
)

// The transports.
const (
	UDP = "udp"
	TCP = "tcp"
	TLS = "tls"
)

// Collector is where messages go.
type Collector struct {
	Host      string // name or address
	Port      int
	Transport string // UDP, TCP or TLS
}

func (c Collector) address() string { return net.JoinHostPort(c.Host, strconv.Itoa(c.Port)) }

// Sender sends messages to one collector.
type Sender struct {
	// Arrived, unless it is nil, is told each message that needs not be sent again.
	Arrived func(Message)

	to       Collector
	hostname func() string
	log      *slog.Logger
	queue    *queue
	hurry    chan struct{}   // ends the pause before a new attempt
	changed  <-chan struct{} // the network may have changed
	offline  time.Time       // when the machine was last seen without a network
	down     bool            // it was said that the collector can not be reached
	waits    bool            // it was said that there is no way to it yet
	moves    logline.Teller  // of sessions that went another way, as with a name whose addresses take turns
	roots    string          // a file of CA certificates
	network  string          // the file of package netstate
	resolver *net.Resolver   // nil for the machine's own
	look     time.Duration   // how often a session is compared with the network
	clock    func() (start time.Time, synced bool)
}

const (
	dialTimeout = 10 * time.Second // names are looked up in it, too
	minPause    = 250 * time.Millisecond
	maxPause    = 5 * time.Second
	// How long names may still not be found when the network has come: Go's resolver
	// reads resolv.conf every 5 s at most, and the last attempt may still go on.
	resolverLag = 5*time.Second + dialTimeout
	// A collector that moves silently misses what is sent in this time.
	lookPeriod = 2 * time.Minute
	// A session that lasted so long was a good one.
	stable = 2 * window
)

// rootsFile is the image's CA certificates. It is read for every connection,
// because certificates are added while the machine starts.
const rootsFile = "/etc/ssl/certs/ca-certificates.crt"

// New makes a sender. The hostname is asked for again for every message. What is
// wrong with the collector is logged when it begins and when it is over.
func New(to Collector, hostname func() string, log *slog.Logger) *Sender {
	return &Sender{to: to, hostname: hostname, log: log.With("collector", to.Transport+" "+to.address()), queue: newQueue(QueueLimit),
		hurry: make(chan struct{}, 1), roots: rootsFile, network: netstate.Path, look: lookPeriod, clock: clock}
}

// Send queues a message. It never waits.
func (s *Sender) Send(m Message) { s.queue.add(m) }

// Run sends until ctx ends.
func (s *Sender) Run(ctx context.Context) {
	session := s.datagrams
	if s.to.Transport != UDP {
		session = s.stream
	}
	var err error
	if s.changed, err = netstate.Watch(ctx, s.network); err != nil {
		s.log.Warn("changes of the network are noticed late on the way to the syslog collector", "err", err)
	}
	pause := minPause
	for {
		began := time.Now()
		err := session(ctx)
		s.queue.rewind()
		if ctx.Err() != nil {
			return
		}
		noRoute := errors.Is(err, unix.ENETUNREACH) || errors.Is(err, errUnsettled)
		_, hasMoved := errors.AsType[moved](err)
		switch noNetwork := noRoute || s.noNames(err); {
		case hasMoved:
			s.moves.Tell(s.log, slog.LevelInfo, "messages for the syslog collector go another way from now on", "why", err)
		case s.down:
		case noNetwork && !s.waits: // at each boot, until there is a lease
			s.log.Info("messages for the syslog collector wait in memory for a network", "err", err)
			s.waits = true
		case !noNetwork:
			s.log.Warn("the syslog collector can not be reached: messages wait in memory", "err", err)
			s.down = true
		}
		// Looking for a route costs nobody anything.
		if time.Since(began) > stable || noRoute {
			pause = minPause
		}
		select {
		case <-ctx.Done():
			return
		case <-s.hurry:
		case <-s.changed:
			pause = minPause
		case <-time.After(pause):
		}
		pause = min(2*pause, maxPause)
	}
}

// arrived forgets messages that have arrived.
func (s *Sender) arrived(arrived func(*item) bool) {
	confirmed := s.queue.confirm(arrived)
	for _, i := range confirmed {
		if s.Arrived != nil && i.lost == 0 {
			s.Arrived(i.Message)
		}
	}
	if len(confirmed) > 0 && s.down {
		s.log.Info("the syslog collector can be reached")
		s.down = false
	}
}

// Flush waits until every message was sent, and arrived as far as the transport
// tells, or ctx ends. If Run waits before a new attempt, it makes that at once.
func (s *Sender) Flush(ctx context.Context) error {
	select {
	case s.hurry <- struct{}{}:
	default:
	}
	for {
		unsent, sent := s.queue.waiting()
		if unsent == 0 && (s.to.Transport == UDP || sent == 0) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("sending the last messages to %s: %d are left: %w", s.to.address(), unsent+sent, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// format gives the bytes of a message by the clock and the name of now.
func (s *Sender) format(m Message, limit int) []byte {
	start, synced := s.clock()
	return m.format(circumstances{start, synced, s.hostname()}, limit)
}

// clock gives the kernel's start by the clock of now, and whether NTP keeps that,
// see adjtimex(2).
func clock() (time.Time, bool) {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	return time.Now().Add(-stage.Now()), err == nil && state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0
}

func (s *Sender) readRoots() (*x509.CertPool, error) {
	text, err := os.ReadFile(s.roots)
	if err != nil {
		return nil, fmt.Errorf("reading CA certificates: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return pool, nil
}
