package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	startTime = time.Minute      // a server has to serve by then; what is idle needs a thousandth
	stopTime  = 10 * time.Second // after SIGTERM, then it is killed
)

// program says how a server is run.
type program struct {
	args    []string
	config  func(Config) string // written to /etc/<server>.conf
	sockets []socket            // it serves when these are there
}

// socket is a port that is bound, for a protocol of /proc/net: udp, tcp.
type socket struct {
	protocol string
	port     uint16
}

var programs = map[Server]program{
	DNSMasq:  {[]string{"--keep-in-foreground", "--conf-file=/etc/dnsmasq.conf"}, dnsmasqConfig, []socket{{"udp", 53}}},
	Chronyd:  {[]string{"-x", "-d", "-u", "root", "-f", "/etc/chronyd.conf"}, chronydConfig, []socket{{"udp", 123}}},
	Rsyslogd: {[]string{"-n", "-i", "/run/rsyslogd.pid", "-f", "/etc/rsyslogd.conf"}, rsyslogdConfig, []socket{{"udp", 514}, {"tcp", 514}, {"tcp", 6514}}},
}

// process is a server that runs.
type process struct {
	cmd      *exec.Cmd
	stopping atomic.Bool
	done     chan struct{}
}

// start starts a server, after it has ended if it runs, and waits until it serves.
func (in *inside) start(s Server) error {
	p, ok := programs[s]
	if !ok {
		return fmt.Errorf("there is no server %q", s)
	}
	in.stop(s)
	if err := os.WriteFile("/etc/"+string(s)+".conf", []byte(p.config(in.config)), 0o644); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(insideDir, logsDir, string(s)+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(string(s), p.args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	run := &process{cmd: cmd, done: make(chan struct{})}
	in.servers[s] = run
	go func() {
		cmd.Wait()
		if !run.stopping.Load() {
			fmt.Fprintf(os.Stderr, "lab: %s ended by itself: %v\n", s, cmd.ProcessState)
		}
		close(run.done)
	}()
	if err := run.serves(p.sockets); err != nil {
		in.stop(s)
		return err
	}
	return nil
}

// serves waits until the sockets are there.
func (p *process) serves(sockets []socket) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		bound, err := allBound(sockets)
		if err != nil || bound {
			return err
		}
		select {
		case <-p.done:
			return fmt.Errorf("it ended at once: %v; its log says why", p.cmd.ProcessState)
		case <-ctx.Done():
			return errors.New("it does not come up; its log may say why")
		case <-tick.C:
		}
	}
}

func allBound(sockets []socket) (bool, error) {
	for _, s := range sockets {
		list, err := os.ReadFile("/proc/thread-self/net/" + s.protocol)
		if err != nil || !s.in(string(list)) {
			return false, err
		}
	}
	return true, nil
}

// in looks for the port among the local addresses of a list such as /proc/net/udp.
func (s socket) in(list string) bool {
	for line := range strings.Lines(list) {
		if fields := strings.Fields(line); len(fields) > 1 && strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", s.port)) {
			return true
		}
	}
	return false
}

func (in *inside) stop(s Server) {
	p := in.servers[s]
	if p == nil {
		return
	}
	delete(in.servers, s)
	p.stopping.Store(true)
	p.cmd.Process.Signal(unix.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(stopTime):
		p.cmd.Process.Kill()
		<-p.done
	}
}

func (in *inside) setDHCP(lan, lines string) error {
	i := slices.IndexFunc(in.config.LANs, func(n LAN) bool { return n.Name == lan })
	if i < 0 {
		return fmt.Errorf("there is no LAN %s", lan)
	}
	in.config.LANs[i].DHCP = lines
	return nil
}

// dnsmasqConfig: leases are forgotten when it ends, an address is not pinged for
// three seconds before it is given, and names that it does not know do not exist.
func dnsmasqConfig(c Config) string {
	var b strings.Builder
	b.WriteString(`user=root
log-facility=-
log-dhcp
log-queries
no-hosts
no-resolv
local=/#/
no-ping
dhcp-authoritative
leasefile-ro
pid-file=
except-interface=lo
`)
	for _, n := range c.LANs {
		b.WriteString(n.DHCP + "\n")
	}
	b.WriteString(c.DNSMasq + "\n")
	if c.Files != "" {
		b.WriteString("enable-tftp\ntftp-root=" + filesDir + "\n")
	}
	return b.String()
}

// chronydConfig serves the host's time and touches no clock.
func chronydConfig(Config) string {
	return `local stratum 2
allow
cmdport 0
pidfile /run/chronyd.pid
driftfile /run/chronyd.drift
`
}

// rsyslogdConfig writes each message as a line of JSON.
func rsyslogdConfig(Config) string {
	var b strings.Builder
	fmt.Fprintf(&b, `global(workDirectory="/run" net.enableDNS="off" preserveFQDN="on" maxMessageSize="64k"
  defaultNetstreamDriverCAFile="%[1]s/ca.pem" defaultNetstreamDriverCertFile="%[1]s/cert.pem" defaultNetstreamDriverKeyFile="%[1]s/key.pem")
module(load="imudp")
module(load="imtcp")
template(name="line" type="list" option.jsonf="on") {
  property(outname="transport" name="inputname" format="jsonf")
  property(outname="from" name="fromhost-ip" format="jsonf")
  property(outname="raw" name="rawmsg" format="jsonf")
  property(outname="facility" name="syslogfacility-text" format="jsonf")
  property(outname="severity" name="syslogseverity-text" format="jsonf")
  property(outname="time" name="timereported" dateFormat="rfc3339" format="jsonf")
  property(outname="host" name="hostname" format="jsonf")
  property(outname="app" name="app-name" format="jsonf")
  property(outname="text" name="msg" format="jsonf")
}
action(type="omfile" file="%[2]s" template="line")
input(type="imtcp" name="tcp" port="514")
input(type="imtcp" name="tls" port="6514" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="anon")
input(type="imudp" name="udp" port="514")
`, filepath.Join(insideDir, certsDir), filepath.Join(insideDir, messagesFile))
	return b.String()
}
