package vm

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const greeting = `{"QMP": {"version": {"qemu": {"micro": 13, "minor": 0, "major": 10}}, "capabilities": ["oob"]}}` + "\n"

// qemu plays QEMU's side of the protocol: it expects each line and answers it.
func qemu(t *testing.T, conn net.Conn, exchange ...string) {
	defer conn.Close()
	io.WriteString(conn, greeting)
	in := bufio.NewScanner(conn)
	for i := 0; i < len(exchange); i += 2 {
		if !in.Scan() || in.Text() != exchange[i] {
			t.Errorf("got %q, %v; want %q", in.Text(), in.Err(), exchange[i])
		}
		io.WriteString(conn, exchange[i+1])
	}
}

func TestMonitor(t *testing.T) {
	ours, theirs := net.Pipe()
	m := newMonitor(ours)
	go qemu(t, theirs,
		`{"execute":"qmp_capabilities"}`, `{"return": {}}`,
		`{"execute":"system_powerdown"}`, `{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "POWERDOWN"}{"return": {}}`,
		`{"execute":"send-key","arguments":{"keys":[{"type":"qcode","data":"ctrl"},{"type":"qcode","data":"alt"},{"type":"qcode","data":"delete"}]}}`, `{"return": {}}`,
		`{"execute":"set_link","arguments":{"name":"nic1","up":false}}`, `{"return": {}}`,
		`{"execute":"human-monitor-command","arguments":{"command-line":"info registers -a"}}`, `{"return": "\r\nCPU#0\r\nRAX=1 RBX=2\r\nRIP=ffffffff81000000 HLT=1\r\nCR0=3\r\n\r\nCPU#1\r\nEIP=0000fff0 HLT=0\r\n"}`,
		`{"execute":"nonsense"}`, `{"error": {"class": "CommandNotFound", "desc": "The command nonsense has not been found"}}`,
		`{"execute":"quit"}`, `{"return": {}}{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}}`+"\n",
	)
	if err := m.execute(t.Context(), "qmp_capabilities", nil); err != nil {
		t.Error(err)
	}
	if err := m.powerdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := m.ctrlAltDel(t.Context()); err != nil {
		t.Error(err)
	}
	if err := m.setLink(t.Context(), nicName(1), false); err != nil {
		t.Error(err)
	}
	if got, err := m.processors(t.Context()); err != nil || got != "CPU#0 RIP=ffffffff81000000 HLT=1 CPU#1 EIP=0000fff0 HLT=0" {
		t.Errorf("the processors are %q, %v", got, err)
	}
	err := m.execute(t.Context(), "nonsense", nil)
	if err == nil || !strings.Contains(err.Error(), "CommandNotFound: The command nonsense has not been found") {
		t.Errorf("an error reply gave %v", err)
	}
	if err := m.execute(t.Context(), "quit", nil); err != nil {
		t.Error(err)
	}
	if got := m.end(); got != Reboot {
		t.Errorf("reason %q", got)
	}
	if err := m.powerdown(t.Context()); err == nil {
		t.Error("a command succeeded after the end")
	}
}

func TestMonitorGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		m := newMonitor(ours)
		go io.Copy(io.Discard, theirs)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := m.powerdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if got := m.end(); got != "" {
			t.Errorf("reason %q", got)
		}
	})
}

func FuzzMonitor(f *testing.F) {
	f.Add(greeting + `{"return": {}}{"event": "SHUTDOWN", "data": {"reason": "guest-reset"}}`)
	f.Add(`{"error": null}{"event": 1}`)
	f.Add(`[[[`)
	f.Fuzz(func(t *testing.T, input string) {
		ours, theirs := net.Pipe()
		m := newMonitor(ours)
		go func() {
			io.WriteString(theirs, input)
			theirs.Close()
		}()
		m.end()
	})
}
