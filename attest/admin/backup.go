package admin

import (
	"context"
	"fmt"
	"io"
	"net/http"
)

// backup sends a copy of the store. One that could not be sent whole has no end, which the client sees.
func (s *Server) backup(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/octet-stream")
	err := s.Backup(w)
	s.audit(r, Action{Action: "backup", Err: err})
	if err != nil {
		panic(http.ErrAbortHandler)
	}
}

// Backup writes a copy of the server's store. After an error what was written is no copy.
func (c *Client) Backup(ctx context.Context, w io.Writer) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL+"/v1/backup", nil)
	if err != nil {
		return err
	}
	resp, err := c.HTTP.Do(r)
	if err != nil {
		return asking(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		if err != nil {
			return asking(err)
		}
		return problem(resp.Status, b)
	}
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("receiving the copy of the store: %w", err)
	}
	return nil
}
