package unit

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// MaxJSON is the most bytes that ReadJSON takes.
const MaxJSON = 1 << 20

// Encode writes units as Decode reads them.
func Encode(w io.Writer, units []Unit) error {
	if err := json.NewEncoder(w).Encode(units); err != nil {
		return fmt.Errorf("writing units: %w", err)
	}
	return nil
}

// Decode reads what Encode wrote. PID 1 makes paths out of the names, so they are
// checked.
func Decode(r io.Reader) ([]Unit, error) {
	var units []Unit
	err := ReadJSON(r, &units)
	seen := map[string]bool{}
	for i := 0; err == nil && i < len(units); i++ {
		name := units[i].Name
		if err = checkName(name); err == nil && seen[name] {
			err = fmt.Errorf("%s is there twice", name)
		}
		seen[name] = true
	}
	if err != nil {
		return nil, fmt.Errorf("reading units: %w", err)
	}
	return units, nil
}

// ReadJSON reads one document into v: with no fields that v has not, nothing
// behind it, and at most MaxJSON bytes.
func ReadJSON(r io.Reader, v any) error {
	limited := &io.LimitedReader{R: r, N: MaxJSON + 1}
	d := json.NewDecoder(limited)
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		switch _, err = d.Token(); err {
		case io.EOF:
			err = nil
		case nil:
			err = errors.New("there is more than one document")
		}
	}
	if limited.N == 0 {
		err = fmt.Errorf("there are more than %d bytes", MaxJSON)
	}
	return err
}
