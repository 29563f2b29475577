package service

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/ember-os/ember/os/nstest"
	"github.com/ember-os/ember/os/unit"
)

func TestParseMessage(t *testing.T) {
	for text, want := range map[string]message{
		"":                            {},
		"READY=1":                     {ready: true},
		"READY=0\nREADY":              {},
		"MAINPID=7":                   {mainPID: 7},
		"MAINPID=-7\nMAINPID=x":       {},
		"STATUS=a=b\nREADY=1\n":       {ready: true, status: "a=b", hasStatus: true},
		"STATUS=":                     {hasStatus: true},
		"STATUS=\x1b[31m\xffred\tü":   {status: "?[31m?red?ü", hasStatus: true},
		"STOPPING=1":                  {stopping: true},
		"EXTEND_TIMEOUT_USEC=1500000": {extend: 1500 * time.Millisecond},
		"EXTEND_TIMEOUT_USEC=-1":      {},
		"EXTEND_TIMEOUT_USEC=18446744073709551615": {extend: extendLimit},
		"X_EMBER_A=b=c\nX_OTHER=d":                 {extra: extra{"X_EMBER_A", "b=c"}},
		"X_EMBER_\x1b=\x1b[m":                      {extra: extra{"X_EMBER_?", "?[m"}},
		"\x00\xff=\n\n=":                           {},
	} {
		if got := parseMessage([]byte(text)); got != want {
			t.Errorf("%q: got %+v, want %+v", text, got, want)
		}
	}
	if m := parseMessage([]byte("STATUS=" + strings.Repeat("ü", statusLimit))); m.status != strings.Repeat("ü", statusLimit/2) {
		t.Errorf("a long status has %d bytes", len(m.status))
	}
}

func FuzzParseMessage(f *testing.F) {
	f.Add([]byte("READY=1\nSTATUS=x\nSTOPPING=1\nEXTEND_TIMEOUT_USEC=5"))
	f.Add([]byte("STATUS=\xff" + strings.Repeat("€", statusLimit)))
	f.Fuzz(func(t *testing.T, datagram []byte) {
		m := parseMessage(datagram)
		if len(m.status) > statusLimit || !utf8.ValidString(m.status) || strings.ContainsAny(m.status, "\n\r\x1b\x00") {
			t.Errorf("status %q", m.status)
		}
		if m.extend < 0 || m.extend > extendLimit {
			t.Errorf("extended by %v", m.extend)
		}
	})
}

// TestNotifyUser has a service whose process is root no more when it is ready, and one that speaks for it.
func TestNotifyUser(t *testing.T) {
	if !nstest.InsideWithUser(t, syscall.CLONE_NEWPID) {
		return
	}
	inBoth(t, func(t *testing.T, h *harness) {
		if h.o.Cgroups == nil {
			t.Skip("whose a process is is not known without cgroups")
		}
		if err := os.Mkdir(h.path("all"), 0); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(h.path("all"), 0o777); err != nil {
			t.Fatal(err)
		}
		var heard []string
		h.o.OnExtra = func(name, key, value string) { heard = append(heard, name+" "+key+"="+value) }
		h.start(notifying("a.service", "user", "log:"+h.path("all/socket")+":$NOTIFY_SOCKET", "wait:"+h.path("all/forged"), "notify:X_EMBER_A=own", "notify:READY=1"))
		socket := strings.TrimSpace(h.read("all/socket", 1))
		h.start(with(simple("b.service", "user", "notify:X_EMBER_A=forged|READY=1", "log:"+h.path("all/forged")), func(u *unit.Unit) {
			u.Service.Environment = []string{"NOTIFY_SOCKET=" + socket}
		}))
		h.settle("a.service", Active)
		h.stop(patience)
		if !slices.Equal(heard, []string{"a.service X_EMBER_A=own"}) {
			t.Errorf("heard %q", heard)
		}
	})
}

// TestLongName has a name that would be too long for a socket.
func TestLongName(t *testing.T) {
	inBoth(t, func(t *testing.T, h *harness) {
		name := strings.Repeat("x", 255-len(".service")) + ".service"
		h.start(notifying(name, "notify:READY=1"))
		h.settle(name, Active)
	})
}

// TestMainPID has services that say which process is theirs: one that is right, and one that is not.
func TestMainPID(t *testing.T) {
	inBoth(t, func(t *testing.T, h *harness) {
		h.start(notifying("right.service", "pid:READY=1|MAINPID=", "exit:0"), notifying("wrong.service", "notify:READY=1|MAINPID=1", "exit:0"))
		for _, name := range []string{"right.service", "wrong.service"} {
			h.until(name, Dead)
		}
		logs := h.logs.String()
		if !strings.Contains(logs, "wrong: MAINPID=1 is not supported: it ends with process ") || strings.Contains(logs, "right: MAINPID") {
			t.Error("the log does not say whose MAINPID= has no effect")
		}
	})
}

// TestNotifier sends good and bad messages, of which some are left to close.
func TestNotifier(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "ember-") // not t.TempDir: paths of sockets are short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "a.service")
	var got []string
	handled := make(chan struct{}, 16)
	own := func(pid int) bool { return pid == os.Getpid() } // root is heard whatever it says
	n, err := listen(path, own, func(m message) {
		got = append(got, m.status)
		handled <- struct{}{}
	})
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o666 {
		t.Errorf("others can not write to it: %v, %v", info.Mode(), err)
	}
	c, err := net.Dial("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	send := func(text string) {
		if _, err := c.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	send("")
	send("STATUS=" + strings.Repeat("x", messageLimit))
	send("STATUS=one")
	go n.run()
	<-handled
	<-handled
	send("STATUS=two")
	n.close()
	n.close()
	if !slices.Equal(got, []string{"", "one", "two"}) {
		t.Errorf("heard %q", got)
	}
	if _, err := c.Write([]byte("x")); err == nil {
		t.Error("the socket is still there")
	}
	if _, err := listen(filepath.Join(dir, strings.Repeat("x", 108)), nil, nil); err == nil {
		t.Error("there is a socket with a long path")
	}
}
