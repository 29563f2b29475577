package lab

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// messagesFile is what rsyslogd writes, in Network.dir.
const messagesFile = "messages.json"

// Message is a message as rsyslogd understood it.
type Message struct {
	Transport string // udp, tcp or tls
	From      string // the sender's IP address
	Raw       string // as it came
	Facility  string // such as daemon
	Severity  string // such as err
	Time      time.Time
	Host      string
	App       string
	Text      string
}

// Messages returns what rsyslogd has received until now, in its order.
func (l *Lab) Messages() []Message {
	l.t.Helper()
	b, err := os.ReadFile(filepath.Join(l.dir, messagesFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.t.Fatal(err)
	}
	var all []Message
	for line := range strings.Lines(string(b)) {
		if !strings.HasSuffix(line, "\n") {
			break // rsyslogd is writing it
		}
		var m Message
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			l.t.Fatalf("reading what rsyslogd wrote: %v\n%s", err, line)
		}
		all = append(all, m)
	}
	return all
}

// patience bounds each wait. It is for what hangs.
const patience = 3 * time.Minute

// Message returns the first message that matches, and waits for it if need be.
func (l *Lab) Message(match func(Message) bool) Message {
	l.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		all := l.Messages()
		for _, m := range all {
			if match(m) {
				return m
			}
		}
		select {
		case <-tick.C:
		case <-deadline:
			l.t.Fatalf("rsyslogd has not received the message, but %d others", len(all))
		case <-l.t.Context().Done():
			l.t.Fatal("the test ended before rsyslogd received the message")
		}
	}
}
