// Package logline is the form of a log line on its way from a program to the log:
// that of sd-daemon(3), "<N>text" with the severity N of syslog. Lines of programs
// that know nothing of it are informational.
package logline

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Variable is the environment variable, set to 1, by which a program knows that its
// standard error is a log that understands severities.
const Variable = "EMBER_LOGLINE"

// Severity is one of RFC 5424, section 6.2.1; the lower the worse.
type Severity int

// The severities.
const (
	Emergency Severity = iota
	Alert
	Critical
	Error
	Warning
	Notice
	Info
	Debug
)

// severities is the order of the constants.
var severities = [...]string{"emergency", "alert", "critical", "error", "warning", "notice", "info", "debug"}

func (s Severity) String() string { return severities[s] }

// Level is the least level of slog that is as severe.
func (s Severity) Level() slog.Level {
	switch {
	case s <= Error:
		return slog.LevelError
	case s == Warning:
		return slog.LevelWarn
	case s == Debug:
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

func severityOf(l slog.Level) Severity {
	switch {
	case l >= slog.LevelError:
		return Error
	case l >= slog.LevelWarn:
		return Warning
	case l >= slog.LevelInfo:
		return Info
	}
	return Debug
}

// Line is one line, without its end.
type Line struct {
	Severity Severity
	Text     string
}

// Parse takes the prefix off a line.
func Parse(line string) Line {
	if len(line) >= 3 && line[0] == '<' && '0' <= line[1] && line[1] <= '7' && line[2] == '>' {
		return Line{Severity(line[1] - '0'), line[3:]}
	}
	return Line{Info, line}
}

// String puts the prefix before the text. Only the first line of a text counts.
func (l Line) String() string {
	text, _, _ := strings.Cut(l.Text, "\n")
	return "<" + strconv.Itoa(int(l.Severity)) + ">" + text
}

// Human is the line for a console: what is worse than a notice says so.
func (l Line) Human() string {
	if l.Severity < Notice {
		return l.Severity.String() + ": " + l.Text
	}
	return l.Text
}

// Visible is text without anything that could move a terminal's cursor or change its
// settings: control characters and what is no UTF-8 are "?".
func Visible(text string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsGraphic(r) {
			return '?'
		}
		return r
	}, text)
}

// New logs lines of "message key=value ..." to w, one in each Write. Messages may have
// any text in them.
func New(w io.Writer, level slog.Leveler) *slog.Logger {
	h := &handler{mu: new(sync.Mutex), w: w, buf: new(bytes.Buffer)}
	h.fields = slog.NewTextHandler(h.buf, &slog.HandlerOptions{Level: level, ReplaceAttr: withoutBuiltIn})
	return slog.New(h)
}

// handler writes the message by itself and has slog's text handler write the rest.
type handler struct {
	mu     *sync.Mutex
	w      io.Writer
	buf    *bytes.Buffer // what fields writes to; mu is held
	fields slog.Handler
}

func withoutBuiltIn(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
		return slog.Attr{}
	}
	return a
}

func (h *handler) Enabled(ctx context.Context, l slog.Level) bool { return h.fields.Enabled(ctx, l) }

func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.buf.Reset()
	if err := h.fields.Handle(ctx, r); err != nil {
		return err
	}
	text := Visible(strings.ReplaceAll(r.Message, "\n", " "))
	if fields := strings.TrimSpace(h.buf.String()); fields != "" {
		text += " " + fields
	}
	_, err := io.WriteString(h.w, Line{severityOf(r.Level), text}.String()+"\n")
	return err
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &handler{h.mu, h.w, h.buf, h.fields.WithAttrs(attrs)}
}

func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{h.mu, h.w, h.buf, h.fields.WithGroup(name)}
}
