package os_test

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/vm"
	"github.com/ember-os/ember/os/vm/lab"
	"github.com/ember-os/ember/os/vm/vmtest"
)

// TestClock has a machine believe that it is another year.
func TestClock(t *testing.T) {
	for _, year := range []int{1970, 2099} {
		t.Run(time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC).Format("2006"), func(t *testing.T) {
			t.Parallel()
			l := startLab(t, lan("boot", "1"))
			c := config(t)
			c.Append = "ember.debug=shell"
			c.NICs = []vm.NIC{l.Port("boot")}
			c.RTC = time.Date(year, 1, 2, 3, 4, 5, 0, time.UTC)
			m := vmtest.Start(t, c)
			first := await(m, stage.Clock)
			if at, err := time.Parse(time.RFC3339, first.Get("now")); err != nil || at.Year() < 2026 || (first.Get("from") == "build") != (year == 1970) {
				t.Errorf("the first time is %v, %v", first, err)
			}
			if line := await(m, stage.Time); line.Get("source") != "10.0.1.1" {
				t.Errorf("the time is from %v", line)
			}
			at, err := time.Parse(time.RFC3339, ask(t, m, "date -u +%Y-%m-%dT%H:%M:%SZ"))
			if off := time.Since(at).Abs(); err != nil || off > time.Minute {
				t.Errorf("the clock shows %v, %v", at, err)
			}
			// What was logged before has the right time too.
			at, err = time.Parse(time.RFC3339Nano, ask(t, m, "ember log kernel | head -n 1 | cut -d' ' -f1"))
			if off := time.Since(at).Abs(); err != nil || off > 10*time.Minute {
				t.Errorf("the kernel's first line is of %v, %v", at, err)
			}
		})
	}
}

// TestTimeServers has servers that lie, are slow, and come late.
func TestTimeServers(t *testing.T) {
	start := func(t *testing.T, servers ...*timeServer) *vmtest.Machine {
		boot := lan("boot", "1")
		boot.Addrs = nil
		var addresses []string
		for i := range servers {
			a := netip.AddrFrom4([4]byte{10, 0, 1, byte(i + 1)})
			addresses = append(addresses, a.String())
			boot.Addrs = append(boot.Addrs, netip.PrefixFrom(a, 24))
		}
		boot.DHCP = strings.Replace(boot.DHCP, "0.0.0.0", strings.Join(addresses, ","), 1)
		l := lab.Start(t, lab.Config{Root: testRoot(t), LANs: []lab.LAN{boot}, Servers: []lab.Server{lab.DNSMasq}})
		for i, s := range servers {
			s.start(t, l, addresses[i])
		}
		c := config(t)
		c.Append = "ember.debug=shell"
		c.NICs = []vm.NIC{l.Port("boot")}
		return vmtest.Start(t, c)
	}
	isRight := func(t *testing.T, m *vmtest.Machine) {
		t.Helper()
		at, err := time.Parse(time.RFC3339, ask(t, m, "date -u +%Y-%m-%dT%H:%M:%SZ"))
		if off := time.Since(at).Abs(); err != nil || off > time.Minute {
			t.Errorf("the clock shows %v, %v", at, err)
		}
	}
	t.Run("NearLiar", func(t *testing.T) {
		t.Parallel()
		m := start(t, &timeServer{wrong: 24 * time.Hour}, &timeServer{delay: 500 * time.Millisecond}, &timeServer{delay: 500 * time.Millisecond})
		if source := await(m, stage.Time).Get("source"); source != "10.0.1.2" && source != "10.0.1.3" {
			t.Errorf("the time is from %q", source)
		}
		isRight(t, m)
		if n := ask(t, m, "ember log ember-time | grep -c 'time server 10.0.1.1 is not believed'"); n == "0" {
			t.Error("nothing is said of the server that is wrong")
		}
	})
	t.Run("Late", func(t *testing.T) {
		t.Parallel()
		s := new(timeServer)
		s.silent.Store(true)
		m := start(t, s)
		if line := await(m, stage.Time); line.Get("source") != "none" || !strings.Contains(line.Get("why"), "no answer") {
			t.Errorf("the time is from %v", line)
		}
		s.silent.Store(false)
		eventually(t, "the clock to be set", func() bool {
			return ask(t, m, `grep -c '"Source": "10.0.1.1"' /run/ember/time.json`) == "1"
		})
		isRight(t, m)
		s.silent.Store(true)
		eventually(t, "a word of the server that is gone", func() bool {
			return ask(t, m, `grep -c '"Why"' /run/ember/time.json`) == "1"
		})
	})
}

// timeServer is an NTP server in a lab.
type timeServer struct {
	wrong  time.Duration // its clock
	delay  time.Duration // of its answers
	silent atomic.Bool
}

func (s *timeServer) start(t *testing.T, l *lab.Lab, address string) {
	conn := l.ListenPacket("udp", address+":123")
	t.Cleanup(func() { conn.Close() })
	go func() {
		question := make([]byte, 1024)
		for {
			n, from, err := conn.ReadFrom(question)
			if err != nil {
				return
			}
			if n < 48 || s.silent.Load() {
				continue
			}
			reply := ntpReply(question, time.Now().Add(s.wrong))
			time.AfterFunc(s.delay, func() { conn.WriteTo(reply, from) })
		}
	}()
}

// ntpReply is the answer of a server of stratum 2 to a question: RFC 5905, figure 8.
func ntpReply(question []byte, now time.Time) []byte {
	const seconds1900to1970 = 2_208_988_800
	stamp := uint64(now.Unix()+seconds1900to1970)<<32 | uint64(now.Nanosecond())<<32/uint64(time.Second)
	b := make([]byte, 48)
	b[0], b[1], b[3] = 4<<3|4, 2, 0xec // version and mode, stratum, precision
	copy(b[24:32], question[40:48])    // the question's own time
	for _, at := range []int{16, 32, 40} {
		binary.BigEndian.PutUint64(b[at:], stamp)
	}
	return b
}
