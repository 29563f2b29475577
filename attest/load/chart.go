package load

import (
	"fmt"
	"html"
	"io"
	"math"
	"strings"
	"time"
)

// Panel is a part of a chart: what one server does.
type Panel struct {
	Title string
	Most  *Result // as fast as it could
	Paced []Paced // at rates below that, the lowest first
}

// Paced is a run at a rate.
type Paced struct {
	Rate   float64
	Result *Result
}

// Sizes in pixels.
const (
	panelWidth  = 360
	plotWidth   = 268
	plotHeight  = 200
	left, top   = 64, 66
	chartHeight = top + plotHeight + 134
)

// The axis of times is logarithmic.
const (
	shortest = time.Millisecond
	longest  = time.Second
)

// What a server with two processors should do: as many machines a second, and at half of that, 99 of 100 of them
// within this time.
const (
	processors = 2
	aimRate    = 800
	aimTime    = 250 * time.Millisecond
)

var percentiles = []struct {
	percent float64
	class   string
}{{50, "low"}, {90, "mid"}, {99, "high"}}

const style = `text{font:12px system-ui,sans-serif;fill:#1c2430}.h{font-weight:600;font-size:14px}.g{stroke:#c9d1de}.b{fill:#f4f6fa}` +
	`.m{stroke:#1c2430;stroke-dasharray:2 3}.t{stroke:#b23c2a;stroke-dasharray:5 3}text.t{stroke:none;fill:#b23c2a}` +
	`polyline{fill:none;stroke-width:2}polyline.low{stroke:#1f7a4d}polyline.mid{stroke:#9a5b00}polyline.high{stroke:#7048c6}` +
	`circle.low,text.low{fill:#1f7a4d}circle.mid,text.mid{fill:#9a5b00}circle.high,text.high{fill:#7048c6}` +
	`@media(prefers-color-scheme:dark){text{fill:#e3e8f0}.g{stroke:#38435a}.b{fill:#141a24}.m{stroke:#e3e8f0}` +
	`.t{stroke:#ff8f7d}text.t{fill:#ff8f7d}polyline.low{stroke:#4cc38a}polyline.mid{stroke:#f0a83c}polyline.high{stroke:#b59bff}` +
	`circle.low,text.low{fill:#4cc38a}circle.mid,text.mid{fill:#f0a83c}circle.high,text.high{fill:#b59bff}}`

// WriteChart draws the panels beside each other, as SVG: percentiles of the time that a machine waits for the
// server, over how many machines come a second.
func WriteChart(w io.Writer, title string, panels []Panel) error {
	var most float64
	for _, p := range panels {
		most = max(most, p.Most.Rate())
		for _, paced := range p.Paced {
			most = max(most, paced.Rate)
		}
	}
	most = niceCeiling(most)
	var b strings.Builder
	width := panelWidth * max(len(panels), 1)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" role="img">`+"\n", width, chartHeight)
	fmt.Fprintf(&b, "<title>%s</title>\n<style>%s</style>\n", html.EscapeString(title), style)
	fmt.Fprintf(&b, `<rect class="b" width="100%%" height="100%%" rx="10"/><text class="h" x="%d" y="26">%s</text>`+"\n", left, html.EscapeString(title))
	for i, p := range panels {
		fmt.Fprintf(&b, `<g transform="translate(%d,0)">`+"\n", i*panelWidth)
		p.draw(&drawing{&b, most})
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func (p Panel) draw(d *drawing) {
	const right, bottom = left + plotWidth, top + plotHeight
	d.text(left, top-14, "start", "h", "%s", p.Title)
	for t := shortest; t <= longest; t *= 10 {
		d.line(left, d.y(t), right, d.y(t), "g")
		d.text(left-6, d.y(t)+4, "end", "", "%d ms", t.Milliseconds())
	}
	for _, rate := range []float64{0, d.most / 2, d.most} {
		d.text(d.x(rate), bottom+16, "middle", "", "%.0f/s", rate)
	}
	// The aim is a corner: below it and to the right of it is where p99 should go.
	if aimRate/2 <= d.most {
		d.line(left, d.y(aimTime), d.x(aimRate/2), d.y(aimTime), "t")
		d.line(d.x(aimRate/2), top, d.x(aimRate/2), d.y(aimTime), "t")
		d.text(left+4, d.y(aimTime)-4, "start", "t", "aim: %d ms", aimTime.Milliseconds())
	}
	most := p.Most.Rate()
	d.line(d.x(most), top, d.x(most), bottom, "m")
	anchor, beside := "start", 4.0
	if most > d.most/2 {
		anchor, beside = "end", -4.0
	}
	d.text(d.x(most)+beside, bottom-6, anchor, "", "most %.0f/s", most)
	for i, c := range percentiles {
		var points []string
		for _, paced := range p.Paced {
			x, y := d.x(paced.Rate), d.y(Percentile(paced.Result.Both, c.percent))
			points = append(points, fmt.Sprintf("%.1f,%.1f", x, y))
			fmt.Fprintf(d, `<circle class="%s" cx="%.1f" cy="%.1f" r="3"/>`+"\n", c.class, x, y)
		}
		fmt.Fprintf(d, `<polyline class="%s" points="%s"/>`+"\n", c.class, strings.Join(points, " "))
		d.text(left+float64(i)*48, bottom+38, "start", c.class, "p%.0f", c.percent)
	}
	d.text(left, bottom+60, "start", "h", "%.0f/s by %d processors of its own", p.Most.RateOf(processors), processors)
	d.text(left, bottom+80, "start", "", "%.2f ms of a processor for each machine", float64(p.Most.CPUEach().Microseconds())/1000)
	d.text(left, bottom+98, "start", "", "%.0f/s with the machines on the same %d", most, processors)
	d.text(left, bottom+116, "start", "", "%.0f MB at most; %d let in, %d refused", float64(p.Most.Memory)/1e6, p.Most.Granted, p.Most.refusals())
}

// drawing is a panel with its axes.
type drawing struct {
	*strings.Builder
	most float64 // machines a second, at the right end
}

func (d *drawing) text(x, y float64, anchor, class, format string, args ...any) {
	fmt.Fprintf(d, `<text x="%.0f" y="%.0f" text-anchor="%s" class="%s">%s</text>`+"\n", x, y, anchor, class, html.EscapeString(fmt.Sprintf(format, args...)))
}

func (d *drawing) line(x1, y1, x2, y2 float64, class string) {
	fmt.Fprintf(d, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" class="%s"/>`+"\n", x1, y1, x2, y2, class)
}

// x is where a rate is.
func (d *drawing) x(rate float64) float64 { return left + plotWidth*rate/d.most }

// y is where a time is.
func (d *drawing) y(t time.Duration) float64 {
	t = min(max(t, shortest), longest)
	return top + plotHeight*(1-math.Log(float64(t)/float64(shortest))/math.Log(float64(longest)/float64(shortest)))
}

// niceCeiling is the next of 1, 1.2, 1.6, 2, 3, 5, 10, 12 …
func niceCeiling(v float64) float64 {
	for unit := 1.0; ; unit *= 10 {
		for _, factor := range []float64{1, 1.2, 1.6, 2, 3, 5} {
			if unit*factor >= v {
				return unit * factor
			}
		}
	}
}
