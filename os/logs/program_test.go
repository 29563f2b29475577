package logs

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"time"
)

// output is what a printer prints to in the tests.
type output struct{ bytes.Buffer }

func (*output) Flush() error { return nil }

// boot is when the kernel started in the tests.
var boot = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func newPrinter(t *testing.T, s *Store) (*printer, *output) {
	t.Helper()
	out := new(output)
	return &printer{dir: s.dir, start: func() time.Time { return boot }, out: out, period: time.Millisecond, lines: -1}, out
}

func TestPrint(t *testing.T) {
	s := newStore(t, Limit)
	s.add(t,
		entry(Kernel, 0, "<5>Linux"), entry(Kernel, 3*time.Second, "<4>slow"),
		entry(Init, time.Second, "stage"), entry("a.service", 2*time.Second, "<3>no disk"), entry("a.service", 4*time.Second, "here"))
	for _, test := range []struct {
		names []string
		lines int
		json  bool
		want  string
	}{
		{nil, -1, false, `2026-11-21T12:00:00.000000Z kernel: Linux
2026-11-21T12:00:01.000000Z init: stage
2026-11-21T12:00:02.000000Z a: error: no disk
2026-11-21T12:00:03.000000Z kernel: warning: slow
2026-11-21T12:00:04.000000Z a: here
`},
		{[]string{"a", "a.service"}, -1, false, "2026-11-21T12:00:02.000000Z a: error: no disk\n2026-11-21T12:00:04.000000Z a: here\n"},
		{[]string{"kernel", "init"}, 2, false, "2026-11-21T12:00:01.000000Z init: stage\n2026-11-21T12:00:03.000000Z kernel: warning: slow\n"},
		{nil, 0, false, ""},
		{[]string{"init"}, 5, true, `{"time":"2026-11-21T12:00:01Z","boottime":1,"unit":"init","severity":"info","text":"stage"}` + "\n"},
	} {
		p, out := newPrinter(t, s)
		p.lines, p.json = test.lines, test.json
		if err := p.run(t.Context(), test.names); err != nil || out.String() != test.want {
			t.Errorf("%v prints\n%s%v; want\n%s", test.names, out, err, test.want)
		}
	}
}

func TestUnknownName(t *testing.T) {
	s := newStore(t, Limit)
	p, _ := newPrinter(t, s)
	if err := p.run(t.Context(), []string{"a"}); err == nil || err.Error() != `nothing was logged by "a"; nothing was logged yet` {
		t.Error(err)
	}
	s.add(t, entry(Kernel, 0, "x"), entry("a.service", 0, "x"))
	if err := p.run(t.Context(), []string{"a", "b"}); err == nil || err.Error() != `nothing was logged by "b"; there is: a.service, kernel` {
		t.Error(err)
	}
}

// TestFollow follows everything, over a rotation, to a unit that is new, while the
// clock is set.
func TestFollow(t *testing.T) {
	s := newStore(t, 20*numberedSize)
	s.add(t, numbered(0, 20)...)
	r, w := io.Pipe()
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	p, _ := newPrinter(t, s)
	var clock atomic.Int64
	p.start = func() time.Time { return boot.Add(time.Duration(clock.Load())) }
	p.out, p.follow = bufio.NewWriter(w), true
	ended := make(chan error)
	go func() { ended <- p.run(ctx, nil) }()
	out := bufio.NewReader(r)
	expect := func(want string) {
		t.Helper()
		if got, err := out.ReadString('\n'); got != want+"\n" || err != nil {
			t.Fatalf("printed %q, %v; want %s", got, err, want)
		}
	}
	for i := 20 - followLines; i < 20; i++ {
		expect(fmt.Sprintf("2026-11-21T12:00:00.%03d000Z a: %08d", i, i))
	}
	clock.Store(int64(time.Hour))
	s.add(t, entry("a.service", time.Second, "rotated"))
	expect("2026-11-21T13:00:01.000000Z a: rotated")
	s.add(t, entry("b.service", 2*time.Second, "new"))
	expect("2026-11-21T13:00:02.000000Z b: new")
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
