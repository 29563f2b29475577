// Package cast is recordings of terminals as asciinema has them: asciicast version 2, a header in JSON and a line of
// JSON for each event. It writes them, reads them, and draws them as SVG.
//
// What is read is text that goes on line by line, as the lab prints it: events of output, with the looks bold, faint and
// green. Other events, looks and control sequences are left out. Nothing ever moves the cursor up.
package cast

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// The looks of text, by ECMA-48.
const (
	Bold  = "\x1b[1m"
	Faint = "\x1b[2m"
	Green = "\x1b[32m"
	Plain = "\x1b[0m"
)

const (
	version = 2
	output  = "o"
	most    = 4 << 20 // bytes of a recording
)

// header is the first line.
type header struct {
	Version   int    `json:"version"`
	Width     int    `json:"width"`
	Height    int    `json:"height"`
	Timestamp int64  `json:"timestamp,omitempty"`
	Title     string `json:"title,omitempty"`
}

// Writer records.
type Writer struct {
	w     io.Writer
	begin time.Time
}

// NewWriter begins a recording of a terminal with so many columns.
func NewWriter(w io.Writer, title string, columns int, begin time.Time) (*Writer, error) {
	if err := json.NewEncoder(w).Encode(header{version, columns, 40, begin.Unix(), title}); err != nil {
		return nil, fmt.Errorf("recording: %w", err)
	}
	return &Writer{w, begin}, nil
}

// Write records what is written now. A line feed also goes back to the first column.
func (w *Writer) Write(p []byte) (int, error) {
	at := time.Since(w.begin).Round(time.Millisecond)
	if err := json.NewEncoder(w.w).Encode([]any{at.Seconds(), output, strings.ReplaceAll(string(p), "\n", "\r\n")}); err != nil {
		return 0, fmt.Errorf("recording: %w", err)
	}
	return len(p), nil
}

// Recording is what was recorded.
type Recording struct {
	Title   string
	Columns int
	Lines   []Line
}

// Line is a line, and when it began.
type Line struct {
	At    time.Duration
	Spans []Span
}

// Span is text of one look.
type Span struct {
	Text               string
	Bold, Faint, Green bool
}

// String is the line's text.
func (l Line) String() string {
	var b strings.Builder
	for _, s := range l.Spans {
		b.WriteString(s.Text)
	}
	return b.String()
}

// Read reads a recording.
func Read(r io.Reader) (*Recording, error) {
	recording, err := read(r)
	if err != nil {
		return nil, fmt.Errorf("reading a recording: %w", err)
	}
	return recording, nil
}

func read(r io.Reader) (*Recording, error) {
	lines := bufio.NewScanner(io.LimitReader(r, most))
	lines.Buffer(nil, most)
	if !lines.Scan() {
		return nil, errors.Join(errors.New("it is empty"), lines.Err())
	}
	var h header
	if err := json.Unmarshal(lines.Bytes(), &h); err != nil {
		return nil, fmt.Errorf("its header: %w", err)
	}
	if h.Version != version || h.Width < 1 || h.Width > 1000 {
		return nil, fmt.Errorf("it is of version %d with %d columns, and should be of version %d with 1 to 1000", h.Version, h.Width, version)
	}
	p := painter{recording: &Recording{Title: h.Title, Columns: h.Width}}
	for n := 2; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		if err := p.event(lines.Bytes()); err != nil {
			return nil, fmt.Errorf("its line %d: %w", n, err)
		}
	}
	return p.recording, lines.Err()
}
