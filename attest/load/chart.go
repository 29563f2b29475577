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
	panelWidth  = 320
	plotWidth   = 232
	plotHeight  = 200
	left, top   = 52, 64
	chartHeight = top + plotHeight + 106
)

// The axis of times is logarithmic.
const (
	shortest = time.Millisecond
	longest  = time.Second
	aim      = 250 * time.Millisecond // which p99 should stay below
)

var percentiles = []struct {
	percent float64
	class   string
}{{50, "low"}, {90, "mid"}, {99, "high"}}

const style = `text{font:12px sans-serif;fill:#24292f}.h{font-weight:bold;font-size:14px}.g{stroke:#d0d7de}.t{stroke:#cf222e;stroke-dasharray:4 3}` +
	`.m{stroke:#24292f;stroke-dasharray:2 2}polyline{fill:none;stroke-width:2}.low{stroke:#1a7f37;fill:#1a7f37}.mid{stroke:#9a6700;fill:#9a6700}.high{stroke:#8250df;fill:#8250df}` +
	`polyline.low,polyline.mid,polyline.high{fill:none}text.low,text.mid,text.high{stroke:none}.b{fill:#fff}` +
	`@media(prefers-color-scheme:dark){text{fill:#e6edf3}.g{stroke:#30363d}.m{stroke:#e6edf3}.b{fill:#0d1117}}`

// WriteChart draws the panels beside each other, as SVG: percentiles of the time that a machine waits for the
// server, over how many machines come a second.
func WriteChart(w io.Writer, title string, panels []Panel) error {
	var most float64
	for _, p := range panels {
		most = max(most, p.Most.Rate())
	}
	most = niceCeiling(most)
	var b strings.Builder
	width := panelWidth * max(len(panels), 1)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" role="img">`+"\n", width, chartHeight)
	fmt.Fprintf(&b, "<title>%s</title>\n<style>%s</style>\n", html.EscapeString(title), style)
	fmt.Fprintf(&b, `<rect class="b" width="100%%" height="100%%"/><text class="h" x="%d" y="22">%s</text>`+"\n", left, html.EscapeString(title))
	for i, p := range panels {
		fmt.Fprintf(&b, `<g transform="translate(%d,0)">`+"\n", i*panelWidth)
		p.draw(&b, most)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func (p Panel) draw(b *strings.Builder, most float64) {
	x := func(rate float64) float64 { return left + plotWidth*rate/most }
	text := func(x, y float64, anchor, class, format string, args ...any) {
		fmt.Fprintf(b, `<text x="%.0f" y="%.0f" text-anchor="%s" class="%s">%s</text>`+"\n", x, y, anchor, class, html.EscapeString(fmt.Sprintf(format, args...)))
	}
	line := func(x1, y1, x2, y2 float64, class string) {
		fmt.Fprintf(b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" class="%s"/>`+"\n", x1, y1, x2, y2, class)
	}
	text(left, top-14, "start", "h", "%s", p.Title)
	for t := shortest; t <= longest; t *= 10 {
		line(left, y(t), left+plotWidth, y(t), "g")
		text(left-6, y(t)+4, "end", "", "%d ms", t.Milliseconds())
	}
	line(left, y(aim), left+plotWidth, y(aim), "t")
	text(left+plotWidth, y(aim)-4, "end", "", "%d ms", aim.Milliseconds())
	for _, rate := range []float64{0, most / 2, most} {
		text(x(rate), top+plotHeight+16, "middle", "", "%.0f/s", rate)
	}
	line(x(p.Most.Rate()), top, x(p.Most.Rate()), top+plotHeight, "m")
	anchor, beside := "start", 4.0
	if p.Most.Rate() > most/2 {
		anchor, beside = "end", -4.0
	}
	text(x(p.Most.Rate())+beside, top+plotHeight-6, anchor, "", "most %.0f/s", p.Most.Rate())
	for i, c := range percentiles {
		var points []string
		for _, paced := range p.Paced {
			points = append(points, fmt.Sprintf("%.1f,%.1f", x(paced.Rate), y(Percentile(paced.Result.Both, c.percent))))
		}
		fmt.Fprintf(b, `<polyline class="%s" points="%s"/>`+"\n", c.class, strings.Join(points, " "))
		for _, point := range points {
			at := strings.Split(point, ",")
			fmt.Fprintf(b, `<circle class="%s" cx="%s" cy="%s" r="3"/>`+"\n", c.class, at[0], at[1])
		}
		text(left+float64(i)*48, top+plotHeight+38, "start", c.class, "p%.0f", c.percent)
	}
	text(left, top+plotHeight+58, "start", "", "%.2f ms of CPU for a machine", float64(p.Most.CPUEach().Microseconds())/1000)
	text(left, top+plotHeight+76, "start", "", "%.0f MB of memory at most", float64(p.Most.Memory)/1e6)
	text(left, top+plotHeight+94, "start", "", "%d machines let in, %d refused", p.Most.Granted, p.Most.refusals())
}

// y is where a time is.
func y(t time.Duration) float64 {
	t = min(max(t, shortest), longest)
	return top + plotHeight*(1-math.Log(float64(t)/float64(shortest))/math.Log(float64(longest)/float64(shortest)))
}

// niceCeiling is the next of 1, 2, 5, 10, 20 …
func niceCeiling(v float64) float64 {
	for unit := 1.0; ; unit *= 10 {
		for _, factor := range []float64{1, 2, 5} {
			if unit*factor >= v {
				return unit * factor
			}
		}
	}
}
