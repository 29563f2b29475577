package kubeconfig

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ember-os/ember/os/health/kubetest"
)

// get asks for the node with what a kubeconfig says.
func get(t *testing.T, path string) (code int, err error) {
	t.Helper()
	a, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	client := a.Client()
	defer client.CloseIdleConnections()
	r, err := client.Get(a.Server.String() + "/api/v1/nodes/" + kubetest.Node)
	if err != nil {
		return 0, err
	}
	r.Body.Close()
	return r.StatusCode, nil
}

func TestAccess(t *testing.T) {
	c := kubetest.New(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "token"), kubetest.Token+"\n")
	write(t, filepath.Join(dir, "ca.crt"), string(c.PEM))
	certificate, key := c.Issue(t, "system:node:node1", time.Now().Add(time.Hour))
	write(t, filepath.Join(dir, "c.crt"), string(certificate))
	write(t, filepath.Join(dir, "c.key"), string(key))
	link := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.Symlink(c.TokenUser(t, kubetest.Token), link); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		path string
		code int
	}{
		"files":            {c.NodeUser(t), 200},
		"data":             {c.TokenUser(t, kubetest.Token), 200},
		"a link":           {link, 200},
		"tokenFile":        {kubetest.Write(t, dir, c.URL, "certificate-authority: ca.crt", "tokenFile: token\n    token: wrong"), 200},
		"the wrong token":  {c.TokenUser(t, "wrong"), 401},
		"slash at the end": {kubetest.Write(t, t.TempDir(), c.URL+"/", "certificate-authority: "+dir+"/ca.crt", "tokenFile: "+dir+"/token"), 200},
		"another name":     {kubetest.Write(t, t.TempDir(), strings.Replace(c.URL, "127.0.0.1", "localhost", 1), "certificate-authority: "+dir+"/ca.crt\n    tls-server-name: 127.0.0.1", "tokenFile: "+dir+"/token"), 200},
	} {
		if code, err := get(t, test.path); err != nil || code != test.code {
			t.Errorf("%s: status %d, %v; want %d", name, code, err, test.code)
		}
	}
	if a, err := Read(c.NodeUser(t)); err != nil || a.Node != kubetest.Node || a.Server.String() != c.URL {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err := Read(c.TokenUser(t, "x")); err != nil || a.Node != "" {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestWrongAuthority(t *testing.T) {
	c, other := kubetest.New(t), kubetest.NewAuthority(t)
	c.PEM = other.PEM
	if _, err := get(t, c.NodeUser(t)); err == nil || !strings.Contains(err.Error(), "certificate signed by unknown authority") {
		t.Error(err)
	}
}

// TestToken: it goes to nobody but the server.
func TestToken(t *testing.T) {
	c, other := kubetest.New(t), kubetest.New(t)
	c.Handle(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) })
	other.Handle(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") })
	if code, err := get(t, c.TokenUser(t, kubetest.Token)); err != nil || code != http.StatusFound {
		t.Errorf("status %d, %v", code, err)
	}
}

func TestDeadline(t *testing.T) {
	c := kubetest.New(t)
	asked, release := make(chan struct{}), make(chan struct{})
	c.Handle(func(http.ResponseWriter, *http.Request) {
		close(asked)
		<-release
	})
	defer close(release)
	a, err := Read(c.NodeUser(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.Server.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Client().Do(request); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestBad(t *testing.T) {
	c := kubetest.New(t)
	good, err := os.ReadFile(c.NodeUser(t))
	if err != nil {
		t.Fatal(err)
	}
	expired, expiredKey := c.Issue(t, "system:node:node1", time.Now().Add(-time.Hour))
	certificate, key := c.Issue(t, "system:node:node1", time.Now().Add(time.Hour))
	_, otherKey := c.Issue(t, "system:node:node1", time.Now().Add(time.Hour))
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	token := func(server, cluster, user string) string {
		return kubetest.Write(t, t.TempDir(), server, cluster, user)
	}
	text := func(old, new string) string {
		path := filepath.Join(t.TempDir(), "kubeconfig")
		changed := strings.Replace(string(good), old, new, 1)
		if changed == string(good) {
			t.Fatalf("there is no %q", old)
		}
		write(t, path, changed)
		return path
	}
	for _, test := range []struct{ path, want string }{
		{filepath.Join(t.TempDir(), "kubelet.kubeconfig"), "no such file"},
		{t.TempDir(), "it is not a file"},
		{fifo, "it is not a file"},
		{text(string(good), ""), "it is empty"},
		{text(string(good), "just words"), "line 1: this is not what a kubeconfig has here"},
		{text("  user:\n    client-certificate: kubelet.crt\n    client-key: kubelet.key", "  user: secret"), ": line 18: this is not what a kubeconfig has here"},
		{text(string(good), "a: [1"), "line"},
		{text(string(good), strings.Repeat("#", 1<<20+1)), "it has more than"},
		{text(string(good), "a: &a [x]\nb: *a"), "no aliases"},
		{text(string(good), strings.Repeat("[", 100)+strings.Repeat("]", 100)), "nested too deeply"},
		{text("kind: Config", "kind: Pod"), `it is a "Pod"`},
		{text("current-context: Default", ""), "no current-context"},
		{text("current-context: Default", "current-context: other"), `there is no context "other"`},
		{text("    cluster: local", "    cluster: other"), `there is no cluster "other"`},
		{text("    user: user", "    user: other"), `there is no user "other"`},
		{text("  user:\n    client-certificate: kubelet.crt\n    client-key: kubelet.key", "  unknown: 1"), `user "user" is empty`},
		{token(`""`, "{}: 1", "token: x"), "line"},
		{token(`""`, "x: 1", "token: x"), "has no server"},
		{token("http://127.0.0.1", "x: 1", "token: x"), "not reached with https"},
		{token("127.0.0.1:6443", "x: 1", "token: x"), "is not a URL"},
		{token("https://a/?b", "x: 1", "token: x"), "is not a URL"},
		{token("https://a", "insecure-skip-tls-verify: true", "token: x"), "anybody could answer"},
		{token("https://a", "certificate-authority: missing.crt", "token: x"), "reading certificate-authority"},
		{token("https://a", "certificate-authority-data: \"*\"", "token: x"), "certificate-authority-data is not base64"},
		{token("https://a", "certificate-authority-data: YQ==", "token: x"), "no certificate in PEM"},
		{token("https://a", "proxy-url: secret", "token: x"), "proxy-url is not a URL"},
		{token("https://a", "x: 1", "x: 1"), "neither a client certificate nor a token"},
		{token("https://a", "x: 1", "token: \"a b\""), "characters that no token has"},
		{token("https://a", "x: 1", "tokenFile: missing"), "reading tokenFile"},
		{token("https://a", "x: 1", "exec: {command: aws}"), "exec is not supported"},
		{token("https://a", "x: 1", "auth-provider: {name: gcp}"), "auth-provider is not supported"},
		{token("https://a", "x: 1", "username: admin"), "username and password are not supported"},
		{token("https://a", "x: 1", "token: x\n    as: admin"), "as is not supported"},
		{token("https://a", "x: 1", "client-certificate: missing"), "reading client-certificate"},
		{c.CertificateUser(t, expired, expiredKey), "the client certificate has expired on 2"},
		{c.CertificateUser(t, certificate, otherKey), "private key does not match"},
		{c.CertificateUser(t, key, certificate), "taking the client certificate and its key"},
	} {
		_, err := Read(test.path)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v; want %q", err, test.want)
		}
	}
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// FuzzParse: whatever is in the file, there is an error or a server behind TLS and a way to be known to it.
func FuzzParse(f *testing.F) {
	for _, user := range []string{"token: x", "exec: {command: aws}", "client-certificate-data: YQ==\n    client-key-data: YQ=="} {
		text, err := os.ReadFile(kubetest.Write(f, f.TempDir(), "https://127.0.0.1:6443", "insecure-skip-tls-verify: false", user))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"current-context": "a", "contexts": [{"name": "a", "context": {"cluster": "b", "user": "c"}}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := parse(text, "/nowhere")
		if err == nil && (a.Server.Scheme != "https" || a.Server.Host == "" || a.token == "" && a.tls.Certificates == nil) {
			t.Errorf("%q gives %+v", text, a)
		}
	})
}
