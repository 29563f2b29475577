// Package node asks a Kubernetes cluster whether a node of it is ready: the condition Ready of the object Node, API
// version v1. The kubelet of this boot has to have said so, for the object outlives a node's reboot and stays Ready
// until the cluster has missed the node for some time.
package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"

	"github.com/ember-os/ember/os/logline"
)

// longest is more than an object can have in etcd, in bytes.
const longest = 2 << 20

// maxText is how many bytes of a server's words are shown.
const maxText = 200

// object is what is read of a Node, or of the Status that there is instead.
type object struct {
	Kind     string `json:"kind"`
	Metadata struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Message string          `json:"message"` // of a Status
	Status  json.RawMessage `json:"status"`  // text in a Status
}

type status struct {
	Conditions []condition `json:"conditions"`
	NodeInfo   struct {
		BootID string `json:"bootID"`
	} `json:"nodeInfo"`
}

type condition struct {
	Type    string `json:"type"`
	Status  string `json:"status"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// Ready asks the server about the node of that name. It fails unless the node is ready in the boot with that ID, which
// is /proc/sys/kernel/random/boot_id; the error is for people. Redirects of the client's are not to be followed.
func Ready(ctx context.Context, client *http.Client, server *url.URL, name, bootID string) error {
	if name == "" || name == "." || name == ".." || url.PathEscape(name) != name {
		return fmt.Errorf("no node can be called %q", name)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.JoinPath("api/v1/nodes", name).String(), nil)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("asking the cluster for node %s: %w", name, withoutURL(err))
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, longest+1))
	switch {
	case err != nil:
		return fmt.Errorf("reading node %s: %w", name, err)
	case len(text) > longest:
		return fmt.Errorf("reading node %s: the answer has more than %d bytes", name, longest)
	}
	return judge(response.StatusCode, text, name, bootID)
}

// withoutURL takes away what http.Client puts before an error.
func withoutURL(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// judge says what is wrong with an answer.
func judge(code int, text []byte, name, bootID string) error {
	var o object
	err := json.Unmarshal(text, &o)
	switch {
	case code == http.StatusUnauthorized:
		return fmt.Errorf("the cluster does not take the credentials of the kubeconfig (401)%s", said(o))
	case code == http.StatusForbidden:
		return fmt.Errorf("the cluster does not let the user of the kubeconfig see node %s (403)%s", name, said(o))
	case code == http.StatusNotFound && o.Kind == "Status":
		return fmt.Errorf("the cluster has no node %s (404)%s", name, said(o))
	case code != http.StatusOK:
		return fmt.Errorf("the cluster answers with status %d%s", code, said(o))
	case err != nil:
		return fmt.Errorf("reading node %s: %w", name, err)
	case o.Kind != "Node" || o.Metadata.Name != name:
		return fmt.Errorf("reading node %s: the answer is %s %s", name, short(o.Kind), short(o.Metadata.Name))
	}
	var s status
	if err := json.Unmarshal(o.Status, &s); err != nil {
		return fmt.Errorf("reading the status of node %s: %w", name, err)
	}
	return s.ready(name, bootID)
}

func (s status) ready(name, bootID string) error {
	i := slices.IndexFunc(s.Conditions, func(c condition) bool { return c.Type == "Ready" })
	if i < 0 {
		return fmt.Errorf("node %s does not say whether it is ready", name)
	}
	switch c := s.Conditions[i]; {
	case s.NodeInfo.BootID != bootID:
		return fmt.Errorf("node %s in the cluster is from another boot: kubelet has not registered this one", name)
	case c.Status == "True":
		return nil
	case c.Status == "Unknown":
		return fmt.Errorf("the cluster does not know whether node %s is ready: %s: %s", name, short(c.Reason), short(c.Message))
	default:
		return fmt.Errorf("node %s is not ready: %s: %s", name, short(c.Reason), short(c.Message))
	}
}

func said(o object) string {
	if o.Message == "" {
		return ""
	}
	return ": " + short(o.Message)
}

// short is a server's text that can be shown anywhere.
func short(text string) string {
	if len(text) > maxText {
		text = text[:maxText] + "…"
	}
	return logline.Visible(text)
}
