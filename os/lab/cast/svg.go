package cast

import (
	"fmt"
	"html"
	"io"
	"strings"
	"time"
)

// Sizes in pixels.
const (
	columnWidth = 7.85
	lineHeight  = 19
	margin      = 24
	top         = 52 // of the first line's baseline
)

// duration is how long the drawing takes to show all of it.
const duration = 24 * time.Second

// Lines come when their time has come, for who does not mind movement; without styles all of them are there.
const style = `.bg{fill:#f4f6fa;stroke:#c3cbd9}text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#1c2430;white-space:pre}` +
	`.b{font-weight:600}.f{fill:#5b6b85}.g{fill:#1a7f37}.t{font:600 13px system-ui,sans-serif;fill:#46536a}` +
	`.l{animation:show .2s both}@keyframes show{from{opacity:0}to{opacity:1}}` +
	`@media(prefers-reduced-motion:reduce){.l{animation:none}}@media print{.l{animation:none}}` +
	`@media(prefers-color-scheme:dark){.bg{fill:#0d1117;stroke:#30363d}text{fill:#e6edf3}.f{fill:#8b98ab}.g{fill:#56d364}.t{fill:#9da7b3}}`

// WriteSVG draws the recording, all of it below each other. It comes line by line, many times as fast as it was.
func (r *Recording) WriteSVG(w io.Writer) error {
	lines := r.Lines
	for len(lines) > 0 && lines[0].String() == "" {
		lines = lines[1:]
	}
	var end time.Duration
	for _, l := range lines {
		end = max(end, l.At)
	}
	width := int(float64(r.Columns)*columnWidth) + 2*margin
	height := top + lineHeight*len(lines) + margin/2
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" role="img" aria-labelledby="title">`+"\n", width, height)
	fmt.Fprintf(&b, "<title id=\"title\">%s</title>\n<style>%s</style>\n", escape(r.Title), style)
	fmt.Fprintf(&b, `<rect class="bg" x="0.5" y="0.5" width="%d" height="%d" rx="10"/>`+"\n", width-1, height-1)
	fmt.Fprintf(&b, `<text class="t" x="%d" y="26">%s</text>`+"\n", margin, escape(r.Title))
	for i, l := range lines {
		if l.String() == "" {
			continue
		}
		var delay float64
		if end > 0 {
			delay = duration.Seconds() * float64(l.At) / float64(end)
		}
		fmt.Fprintf(&b, `<text class="l" x="%d" y="%d" xml:space="preserve" style="animation-delay:%.2fs">`, margin, top+lineHeight*i, delay)
		for _, s := range l.Spans {
			if class := s.class(); class != "" {
				fmt.Fprintf(&b, `<tspan class="%s">%s</tspan>`, class, escape(s.Text))
			} else {
				b.WriteString(escape(s.Text))
			}
		}
		b.WriteString("</text>\n")
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// class names the looks.
func (s Span) class() string {
	var all []string
	for _, look := range []struct {
		class string
		has   bool
	}{{"b", s.Bold}, {"f", s.Faint}, {"g", s.Green}} {
		if look.has {
			all = append(all, look.class)
		}
	}
	return strings.Join(all, " ")
}

// escape is text for XML, without what XML does not allow.
func escape(text string) string {
	return html.EscapeString(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0xfffe || r == 0xffff {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "")))
}
