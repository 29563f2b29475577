package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// decode reads exactly one JSON value, none of whose fields is unknown.
func decode(b []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows it")
	}
	return nil
}

// DecodeResponse reads a Response. Fields that it does not know are for later versions of it.
func DecodeResponse(b []byte) (*Response, error) {
	r := new(Response)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("reading the response: %w", err)
	}
	if r.Version != Version {
		return nil, fmt.Errorf("the response is of version %d, not %d", r.Version, Version)
	}
	return r, nil
}

// DecodeGrant reads a Grant strictly: what a server grants and a machine does not understand is not granted.
func DecodeGrant(b []byte) (*Grant, error) {
	g := new(Grant)
	if err := decode(b, g); err != nil {
		return nil, fmt.Errorf("reading the grant: %w", err)
	}
	if g.Version != Version {
		return nil, fmt.Errorf("the grant is of version %d, not %d", g.Version, Version)
	}
	return g, nil
}
