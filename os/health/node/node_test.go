package node_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/ember-os/ember/os/health/kubeconfig"
	"github.com/ember-os/ember/os/health/kubetest"
	"github.com/ember-os/ember/os/health/node"
)

func access(t testing.TB, path string) (*http.Client, *url.URL) {
	t.Helper()
	a, err := kubeconfig.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	client := a.Client()
	t.Cleanup(client.CloseIdleConnections)
	return client, a.Server
}

func check(t *testing.T, name string, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("%s: %v; want %q", name, err, want)
	}
}

func TestReady(t *testing.T) {
	c := kubetest.New(t)
	client, server := access(t, c.NodeUser(t))
	for answer, want := range map[string]string{
		"ready":        "",
		"not-ready":    "node node1 is not ready: KubeletNotReady: container runtime network not ready: ",
		"unknown":      "the cluster does not know whether node node1 is ready: NodeStatusUnknown: Kubelet stopped posting node status.",
		"other-boot":   "node node1 in the cluster is from another boot",
		"registering":  "node node1 does not say whether it is ready",
		"list":         "the answer is NodeList",
		"absent":       `the cluster has no node node1 (404): nodes "node1" not found`,
		"unauthorized": "does not take the credentials of the kubeconfig (401): Unauthorized",
		"forbidden":    `does not let the user of the kubeconfig see node node1 (403): nodes "node1" is forbidden: `,
		"error":        "status 500: Internal error occurred: etcdserver: request timed out",
		"starting":     "status 503: apiserver is shutting down",
	} {
		c.Answer(t, answer)
		check(t, answer, node.Ready(t.Context(), client, server, kubetest.Node, kubetest.BootID), want)
	}
	c.Answer(t, "ready")
	for name, want := range map[string]string{
		"node2": "the cluster has no node node2", "": "no node can be called", "..": "no node can be called", "a/b": "no node can be called", "a%b": "no node can be called",
	} {
		check(t, name, node.Ready(t.Context(), client, server, name, kubetest.BootID), want)
	}
	client, server = access(t, c.TokenUser(t, "wrong"))
	check(t, "the wrong token", node.Ready(t.Context(), client, server, kubetest.Node, kubetest.BootID), "(401)")
}

// TestBadAnswers are of servers that are not what they seem.
func TestBadAnswers(t *testing.T) {
	c := kubetest.New(t)
	client, server := access(t, c.NodeUser(t))
	write := func(code int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			w.Write([]byte(text))
		}
	}
	for name, test := range map[string]struct {
		handle http.HandlerFunc
		want   string
	}{
		"no JSON":        {write(200, "<html>"), "invalid character"},
		"nothing":        {write(200, ""), "unexpected end of JSON"},
		"no object":      {write(200, "null"), "the answer is"},
		"no status":      {write(200, `{"kind":"Node","metadata":{"name":"node1"}}`), "reading the status of node node1"},
		"another node":   {write(200, `{"kind":"Node","metadata":{"name":"node2"},"status":{}}`), "the answer is Node node2"},
		"wrong types":    {write(200, `{"kind":"Node","metadata":{"name":"node1"},"status":{"conditions":3}}`), "cannot unmarshal"},
		"a proxy's page": {write(404, "<html>not found</html>"), "status 404"},
		"an escape":      {write(500, `{"kind":"Status","message":"\u001b[2Jgone"}`), "status 500: ?[2Jgone"},
		"a redirect":     {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/other", http.StatusFound) }, "status 302"},
		"endless": {func(w http.ResponseWriter, _ *http.Request) {
			for space := []byte(strings.Repeat(" ", 64<<10)); ; {
				if _, err := w.Write(space); err != nil {
					return
				}
			}
		}, "has more than 2097152 bytes"},
		"endless header": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("A", strings.Repeat("a", 1<<20))
		}, "headers exceeded"},
		"broken off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			w.Write([]byte("{"))
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, "unexpected EOF"},
	} {
		c.Handle(test.handle)
		check(t, name, node.Ready(t.Context(), client, server, kubetest.Node, kubetest.BootID), test.want)
	}
}

func TestSlow(t *testing.T) {
	for name, begin := range map[string]func(http.ResponseWriter){
		"before the answer": func(http.ResponseWriter) {},
		"in the answer": func(w http.ResponseWriter) {
			w.Write([]byte("{"))
			http.NewResponseController(w).Flush()
		},
	} {
		c := kubetest.New(t)
		client, server := access(t, c.NodeUser(t))
		ctx, cancel := context.WithCancel(t.Context())
		c.Handle(func(w http.ResponseWriter, r *http.Request) {
			begin(w)
			cancel() // the time is over while the server has not said all
			<-r.Context().Done()
			panic(http.ErrAbortHandler)
		})
		if err := node.Ready(ctx, client, server, kubetest.Node, kubetest.BootID); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNoServer(t *testing.T) {
	c := kubetest.New(t)
	client, server := access(t, c.NodeUser(t))
	c.Close()
	check(t, "closed", node.Ready(t.Context(), client, server, kubetest.Node, kubetest.BootID), "asking the cluster for node node1: dial tcp")

	stranger := kubetest.New(t)
	stranger.PEM = kubetest.NewAuthority(t).PEM
	client, server = access(t, stranger.NodeUser(t))
	check(t, "wrong authority", node.Ready(t.Context(), client, server, kubetest.Node, kubetest.BootID), "certificate signed by unknown authority")

	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	c = kubetest.New(t)
	client, _ = access(t, c.NodeUser(t))
	u, err := url.Parse(strings.Replace(plain.URL, "http:", "https:", 1))
	if err != nil {
		t.Fatal(err)
	}
	check(t, "no TLS", node.Ready(t.Context(), client, u, kubetest.Node, kubetest.BootID), "server gave HTTP response to HTTPS client")
}

// answers gives one answer without a network.
type answers struct {
	code int
	body []byte
}

func (a answers) RoundTrip(*http.Request) (*http.Response, error) {
	r := httptest.NewRecorder()
	r.WriteHeader(a.code)
	r.Write(a.body)
	return r.Result(), nil
}

// FuzzReady: whatever a server says, the reason is one line that a console can show; and nothing makes a node ready
// whose answer does not have its name and its boot in it.
func FuzzReady(f *testing.F) {
	for _, a := range kubetest.Answers(f) {
		f.Add(a.Code, []byte(a.Body))
	}
	server := &url.URL{Scheme: "https", Host: "cluster.example"}
	f.Fuzz(func(t *testing.T, code int, body []byte) {
		if code < 100 || code > 999 {
			return
		}
		err := node.Ready(t.Context(), &http.Client{Transport: answers{code, body}}, server, kubetest.Node, kubetest.BootID)
		if err == nil && (code != http.StatusOK || !strings.Contains(string(body), `"`)) {
			t.Errorf("%d %q makes a node ready", code, body)
		}
		if err != nil && (len(err.Error()) > 1000 || strings.ContainsAny(err.Error(), "\n\x1b")) {
			t.Errorf("%d %q gives %q", code, body, err)
		}
	})
}
