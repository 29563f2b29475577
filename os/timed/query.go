package timed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/beevik/ntp"
)

const (
	ntpPort    = 123
	maxServers = 4 // asked at a time

	roundTime = 5 * time.Second // to find and ask all servers
	replyTime = 2 * time.Second // for one reply; a question that gets none is asked twice
	// grace is how long the first good answer waits for the others if they can not
	// outvote it, so that a dead server among good ones does not hold up the boot.
	grace = 250 * time.Millisecond
	// patience is how long it waits if they can: for the answer to a second question.
	patience = replyTime + grace
)

var errNoAnswer = errors.New("no answer")

// client asks servers.
type client struct {
	built  time.Time
	now    func() time.Time // nil for the system's clock
	lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)
	dial   func(ctx context.Context, network, address string) (net.Conn, error)

	mu   sync.Mutex
	rest map[netip.AddrPort]rest
}

// rest is how long a server that sent a kiss-o'-death is left alone.
type rest struct {
	until  time.Time
	length time.Duration
}

// result is what became of one question.
type result struct {
	answer answer
	err    error
}

// ask asks the servers, names or addresses, all at once: of a name, so many of its
// addresses that about maxServers are asked. It gives the good answers, or an error:
// errNobody if there are no such servers. It returns before all have answered if those
// who have not can not outvote the others, or take longer than patience. last is the
// server that was chosen before, "" if none was.
func (c *client) ask(ctx context.Context, servers []string, last string) ([]answer, error) {
	ctx, cancel := context.WithTimeout(ctx, roundTime)
	defer cancel()
	servers = servers[:min(len(servers), maxServers)]
	results := make(chan result)
	var wg sync.WaitGroup
	var open atomic.Int32 // questions without a result
	open.Add(int32(len(servers)))
	for _, server := range servers {
		wg.Go(func() { c.askServer(ctx, server, maxServers/len(servers), &open, results) })
	}
	go func() {
		wg.Wait()
		close(results)
	}()
	var answers []answer
	var errs []error
	var first time.Time // when the first good answer came
	enough := time.AfterFunc(roundTime, cancel)
	defer enough.Stop()
	for r := range results {
		left := int(open.Add(-1))
		if r.err != nil {
			errs = append(errs, r.err)
		} else {
			answers = append(answers, r.answer)
		}
		if answers == nil {
			continue
		}
		if first.IsZero() {
			first = time.Now()
		}
		wait := patience
		if decided(answers, left, last) {
			wait = grace
		}
		enough.Reset(wait - time.Since(first))
	}
	if answers != nil {
		return answers, nil
	}
	err := errors.Join(errs...)
	if !slices.ContainsFunc(errs, func(err error) bool { return !isUnknown(err) }) {
		err = errNobody(err.Error())
	}
	return nil, err
}

// decided tells whether more answers can not outvote the largest group of those that
// are there. Half of all is enough, unless the server that decides a tie may yet answer.
func decided(answers []answer, more int, last string) bool {
	votes, all := 2*len(largest(answers, last)), len(answers)+more
	if last == "" || slices.ContainsFunc(answers, func(a answer) bool { return a.server == last }) {
		return votes >= all
	}
	return votes > all
}

// isUnknown tells that the name service has no server by that name, which another
// question will not change.
func isUnknown(err error) bool {
	dns, ok := errors.AsType[*net.DNSError](err)
	return ok && dns.IsNotFound
}

// askServer counts a server as one open question until it knows how many it is.
func (c *client) askServer(ctx context.Context, server string, count int, open *atomic.Int32, results chan<- result) {
	addresses, err := c.resolve(ctx, server)
	if err != nil {
		results <- result{err: fmt.Errorf("looking for %s: %w", server, err)}
		return
	}
	addresses = addresses[:min(len(addresses), count)]
	open.Add(int32(len(addresses) - 1))
	var wg sync.WaitGroup
	for _, a := range addresses {
		wg.Go(func() {
			answer, err := c.askAddress(ctx, a)
			if err != nil {
				err = fmt.Errorf("asking %s: %w", shortName(a), err)
			}
			results <- result{answer, err}
		})
	}
	wg.Wait()
}

// resolve gives the addresses of a server that may be asked now.
func (c *client) resolve(ctx context.Context, server string) ([]netip.AddrPort, error) {
	host, port := server, uint16(ntpPort)
	if h, p, err := net.SplitHostPort(server); err == nil {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("%q is not a port", p)
		}
		host, port = h, uint16(n)
	}
	var addresses []netip.Addr
	if a, err := netip.ParseAddr(host); err == nil {
		addresses = []netip.Addr{a}
	} else if addresses, err = c.lookup(ctx, "ip", host); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var ready []netip.AddrPort
	for _, a := range addresses {
		address := netip.AddrPortFrom(a.Unmap(), port)
		if !time.Now().Before(c.rest[address].until) {
			ready = append(ready, address)
		}
	}
	if ready == nil {
		return nil, errors.New("it does not want to be asked again so soon")
	}
	return ready, nil
}

func (c *client) askAddress(ctx context.Context, address netip.AddrPort) (answer, error) {
	response, err := c.exchange(ctx, address)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		response, err = c.exchange(ctx, address)
	}
	if err != nil && ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return answer{}, errNoAnswer
	}
	if err != nil {
		return answer{}, err
	}
	if response.IsKissOfDeath() {
		c.leaveAlone(address, response.KissCode)
		return answer{}, fmt.Errorf("it refuses: %q", response.KissCode)
	}
	return newAnswer(shortName(address), response, c.built)
}

func (c *client) exchange(ctx context.Context, address netip.AddrPort) (*ntp.Response, error) {
	hangUp := func() bool { return false }
	defer func() { hangUp() }()
	return ntp.QueryWithOptions(address.String(), ntp.QueryOptions{
		Timeout:       replyTime,
		GetSystemTime: c.now,
		Dialer: func(_, address string) (net.Conn, error) {
			conn, err := c.dial(ctx, "udp", address)
			if err == nil {
				hangUp = context.AfterFunc(ctx, func() { conn.Close() })
			}
			return conn, err
		},
	})
}

// leaveAlone obeys a kiss-o'-death, RFC 5905, section 7.4: DENY and RSTR are for
// ever, what else there is doubles the time until that server is asked again.
func (c *client) leaveAlone(address netip.AddrPort, code string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	length := max(minPoll, 2*c.rest[address].length)
	if code == "DENY" || code == "RSTR" {
		length = 100 * 365 * 24 * time.Hour
	}
	if c.rest == nil {
		c.rest = make(map[netip.AddrPort]rest)
	}
	c.rest[address] = rest{time.Now().Add(length), length}
}

func shortName(a netip.AddrPort) string {
	if a.Port() == ntpPort {
		return a.Addr().String()
	}
	return a.String()
}
