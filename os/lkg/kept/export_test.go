package kept

import "io"

// Peek is Open, whoever has signed the manifest.
func Peek(r io.ReaderAt, size int64) (*Config, error) {
	c, _, err := open(r, size)
	return c, err
}
