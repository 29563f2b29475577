package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// set writes a value whatever was there. What somebody else writes at the same moment stays: one of the two
// has to be first.
func set(ctx context.Context, s Store, key string, value any, life time.Duration) error {
	old, err := s.Get(ctx, key)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if err = put(ctx, s, key, value, old.Revision, life); errors.Is(err, ErrConflict) {
		return nil
	}
	return err
}

func get[T any](ctx context.Context, s Store, key string) (value T, revision uint64, err error) {
	e, err := s.Get(ctx, key)
	if err != nil {
		return value, 0, err
	}
	value, err = read[T](e)
	return value, e.Revision, err
}

func list[T any](ctx context.Context, s Store, prefix, after string, limit int) ([]T, error) {
	if after != "" {
		after = prefix + after
	}
	entries, err := s.List(ctx, prefix, after, limit)
	if err != nil {
		return nil, err
	}
	values := make([]T, len(entries))
	for i, e := range entries {
		if values[i], err = read[T](e); err != nil {
			return nil, err
		}
	}
	return values, nil
}

func read[T any](e Entry) (value T, err error) {
	if err := json.Unmarshal(e.Value, &value); err != nil {
		return value, fmt.Errorf("reading %q: %w", e.Key, err)
	}
	return value, nil
}

func put(ctx context.Context, s Store, key string, value any, revision uint64, life time.Duration) error {
	b, err := encode(value)
	if err != nil {
		return fmt.Errorf("writing %q: %w", key, err)
	}
	_, err = s.Put(ctx, key, b, revision, life)
	return err
}

// encode writes JSON for nobody's HTML, so that a character has at most twice its size.
func encode(value any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(value)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}
