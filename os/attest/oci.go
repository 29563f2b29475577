package attest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/ember-os/ember/os/download"
)

// ociBlob is where a registry has a blob (OCI distribution specification 1.1, "Pulling blobs").
func ociBlob(u *url.URL, digest string) *url.URL {
	name, _, _ := strings.Cut(strings.Trim(u.Path, "/"), "@")
	return &url.URL{Scheme: "https", Host: u.Host, Path: "/v2/" + name + "/blobs/sha256:" + digest}
}

// token is a registry's word that anybody may read: what public repositories ask for all the same.
type token struct{ client *http.Client }

const maxToken = 64 << 10 // bytes of the answer

// fetch gets one as a challenge (RFC 6750, 3) says, as the field Authorization.
func (t token) fetch(ctx context.Context, challenge string) (string, error) {
	scheme, rest, _ := strings.Cut(challenge, " ")
	params := parameters(rest)
	realm, err := url.Parse(params["realm"])
	if !strings.EqualFold(scheme, "Bearer") || err != nil || realm.Scheme != "https" {
		return "", download.Refused{Err: errors.New("the registry wants a password, or does not say how to get a token")}
	}
	query := realm.Query()
	for _, name := range []string{"service", "scope"} {
		if v := params[name]; v != "" {
			query.Set(name, v)
		}
	}
	realm.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, realm.String(), nil)
	if err != nil {
		return "", download.Refused{Err: err}
	}
	resp, err := download.Do(t.client, req)
	if err != nil {
		return "", fmt.Errorf("asking %s for a token: %w", realm.Host, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", download.Refused{Err: fmt.Errorf("asking %s for a token: HTTP status %d %s", realm.Host, resp.StatusCode, http.StatusText(resp.StatusCode))}
	}
	var answer struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxToken)).Decode(&answer); err != nil {
		return "", fmt.Errorf("reading a token: %w", err)
	}
	if answer.Token == "" {
		answer.Token = answer.AccessToken
	}
	if answer.Token == "" {
		return "", download.Refused{Err: fmt.Errorf("%s gives a token that is empty", realm.Host)}
	}
	return "Bearer " + answer.Token, nil
}

// parameters reads NAME="VALUE",NAME=VALUE...: RFC 9110, 11.2, without escapes.
func parameters(s string) map[string]string {
	m := map[string]string{}
	for s != "" {
		name, rest, found := strings.Cut(strings.TrimLeft(s, " ,"), "=")
		if !found {
			break
		}
		value, after, _ := strings.Cut(rest, ",")
		if inner, quoted := strings.CutPrefix(rest, `"`); quoted {
			value, after, _ = strings.Cut(inner, `"`)
		}
		m[strings.ToLower(strings.TrimSpace(name))] = value
		s = after
	}
	return m
}
