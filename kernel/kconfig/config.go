package kconfig

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// A Config is a resolved configuration, as the kernel writes it to .config:
// values by symbol. A symbol that is missing is not visible, hence off.
type Config map[string]string

// Get returns a symbol's value, [Off] if it has none.
func (c Config) Get(symbol string) string {
	if v, ok := c[symbol]; ok {
		return v
	}
	return Off
}

// ParseConfig reads a .config. Errors name the file and the line.
func ParseConfig(name string, r io.Reader) (Config, error) {
	c := Config{}
	s := bufio.NewScanner(r)
	for n := 1; s.Scan(); n++ {
		opt, rest, ok, err := parseOption(s.Text())
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s:%d: %w", name, n, err)
		case !ok:
			continue
		case strings.TrimSpace(rest) != "":
			return nil, fmt.Errorf("%s:%d: %q after the value", name, n, rest)
		}
		if _, dup := c[opt.Symbol]; dup {
			return nil, fmt.Errorf("%s:%d: CONFIG_%s appears twice", name, n, opt.Symbol)
		}
		c[opt.Symbol] = opt.Value
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return c, nil
}
