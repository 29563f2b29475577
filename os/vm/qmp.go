package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
)

// monitor is a client of the QEMU Machine Protocol, which QEMU's manual
// specifies: one JSON object per message, one command at a time, events in between.
type monitor struct {
	conn    io.ReadWriteCloser
	replies chan reply

	mu     sync.Mutex // one command at a time
	reason string     // of the SHUTDOWN event, valid once replies is closed
}

type reply struct {
	Return json.RawMessage
	Error  *struct{ Class, Desc string }
}

// newMonitor takes over conn, whose other end is QEMU's monitor.
func newMonitor(conn io.ReadWriteCloser) *monitor {
	m := &monitor{conn: conn, replies: make(chan reply, 1)}
	go m.read()
	return m
}

func (m *monitor) read() {
	defer close(m.replies)
	dec := json.NewDecoder(m.conn)
	for {
		var message struct {
			reply
			QMP   json.RawMessage // the greeting
			Event string
			Data  struct{ Reason string }
		}
		if dec.Decode(&message) != nil {
			return
		}
		switch {
		case message.QMP != nil:
		case message.Event == "SHUTDOWN":
			m.reason = message.Data.Reason
		case message.Event == "":
			m.replies <- message.reply
		}
	}
}

// execute runs a command and drops what it returns.
func (m *monitor) execute(ctx context.Context, command string, arguments any) error {
	_, err := m.ask(ctx, command, arguments)
	return err
}

// ask runs a command and gives what it returns.
func (m *monitor) ask(ctx context.Context, command string, arguments any) (json.RawMessage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, err := json.Marshal(struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
	}{command, arguments})
	if err != nil {
		return nil, err
	}
	if _, err := m.conn.Write(append(b, '\n')); err != nil {
		return nil, fmt.Errorf("asking QEMU for %s: %w", command, err)
	}
	select {
	case r, ok := <-m.replies:
		if !ok {
			return nil, fmt.Errorf("asking QEMU for %s: %w", command, errors.New("it has ended"))
		}
		if r.Error != nil {
			return nil, fmt.Errorf("asking QEMU for %s: %s: %s", command, r.Error.Class, r.Error.Desc)
		}
		return r.Return, nil
	case <-ctx.Done():
		m.conn.Close() // its late reply would be taken for the next command's
		return nil, fmt.Errorf("asking QEMU for %s: %w", command, context.Cause(ctx))
	}
}

// end waits for QEMU to close the connection and returns why it shut down.
func (m *monitor) end() string {
	for range m.replies {
	}
	m.conn.Close()
	return m.reason
}

func (m *monitor) powerdown(ctx context.Context) error {
	return m.execute(ctx, "system_powerdown", nil)
}

func (m *monitor) ctrlAltDel(ctx context.Context) error {
	type key struct {
		Type string `json:"type"`
		Data string `json:"data"`
	}
	return m.execute(ctx, "send-key", map[string][]key{
		"keys": {{"qcode", "ctrl"}, {"qcode", "alt"}, {"qcode", "delete"}},
	})
}

func (m *monitor) setLink(ctx context.Context, name string, up bool) error {
	return m.execute(ctx, "set_link", struct {
		Name string `json:"name"`
		Up   bool   `json:"up"`
	}{name, up})
}

// processors tells where each processor is, in lines of its registers.
func (m *monitor) processors(ctx context.Context) (string, error) {
	answer, err := m.ask(ctx, "human-monitor-command", map[string]string{"command-line": "info registers -a"})
	if err != nil {
		return "", err
	}
	var registers string
	if err := json.Unmarshal(answer, &registers); err != nil {
		return "", fmt.Errorf("reading QEMU's list of registers: %w", err)
	}
	var lines []string
	for line := range strings.Lines(registers) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "CPU#") || strings.HasPrefix(line, "RIP=") || strings.HasPrefix(line, "EIP=") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, " "), nil
}
