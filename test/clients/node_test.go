package clients_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// zone is the one a node has by default.
const zone = "atoll.localhost"

// A node is a running "atoll serve" with an empty data directory.
type node struct {
	t       *testing.T
	edge    string // URL of the edge
	api     string // URL of the API, without /client/v4
	account string
	token   string
	driving []string // environment of drivers, beside what each has
}

// startNode starts a node on free ports, and stops it when the test ends.
func startNode(t *testing.T) *node {
	t.Helper()
	need(t)
	dir := t.TempDir()
	var logs lockedBuffer
	cmd := exec.Command(built.atoll, "serve", "--data", dir, "--edge", "127.0.0.1:0", "--api", "127.0.0.1:0",
		"--workerd", built.workerd)
	cmd.Stderr = &logs
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			if line, ok := strings.CutPrefix(lines.Text(), "atoll: ready "); ok {
				ready <- line
			}
		}
		close(ready)
	}()
	t.Cleanup(func() {
		stop(t, cmd)
		if t.Failed() {
			t.Logf("the node's log:\n%s", logs.String())
		}
	})
	n := &node{t: t}
	select {
	case line, ok := <-ready:
		if !ok {
			t.Fatal("the node ended before it was ready")
		}
		for _, field := range strings.Fields(line) {
			key, value, _ := strings.Cut(field, "=")
			switch key {
			case "edge":
				n.edge = value
			case "api":
				n.api = value
			case "account":
				n.account = value
			}
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the node was not ready within 30 s")
	}
	token, err := os.ReadFile(filepath.Join(dir, "api-token"))
	if err != nil {
		t.Fatal(err)
	}
	n.token = strings.TrimSpace(string(token))
	if n.edge == "" || n.api == "" || n.account == "" || n.token == "" {
		t.Fatalf("the ready line lacks something: %+v", n)
	}
	return n
}

// stop ends a node as its operator would, and says so when it does not drain in time.
func stop(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	cmd.Process.Signal(syscall.SIGTERM)
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("atoll serve: %v", err)
		}
	case <-time.After(20 * time.Second):
		cmd.Process.Kill()
		<-done
		t.Error("the node did not stop within 20 s of SIGTERM")
	}
}

// base is what clients get as the API's base URL.
func (n *node) base() string { return n.api + "/client/v4" }

// acct is the base URL of the account's own resources.
func (n *node) acct() string { return n.base() + "/accounts/" + n.account }

// An answer is a response of the API or the edge, read whole.
type answer struct {
	Status int
	Header http.Header
	Body   string
}

// envelope is the shape of every JSON answer of the API.
type envelope struct {
	Success bool            `json:"success"`
	Errors  []envelopeError `json:"errors"`
	Result  json.RawMessage `json:"result"`
	Info    map[string]any  `json:"result_info"`
}

type envelopeError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// do sends one request and reads the answer.
func (n *node) do(req *http.Request) answer {
	n.t.Helper()
	resp, err := http.DefaultTransport.RoundTrip(req) // no redirects: they are the Worker's answer
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		n.t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

// call is one request to the API, with the token.
func (n *node) call(method, url, contentType, body string) answer {
	n.t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+n.token)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	return n.do(req)
}

// result makes a call that must succeed and decodes its result into out, which may be nil.
func (n *node) result(method, url, contentType, body string, out any) {
	n.t.Helper()
	n.call(method, url, contentType, body).result(n.t, out)
}

// result decodes the result of a successful answer into out, which may be nil.
func (a answer) result(t *testing.T, out any) envelope {
	t.Helper()
	var e envelope
	if err := json.Unmarshal([]byte(a.Body), &e); err != nil {
		t.Fatalf("not an envelope: %v in %d %q", err, a.Status, a.Body)
	}
	if a.Status >= 300 || !e.Success {
		t.Fatalf("status %d: %s", a.Status, a.Body)
	}
	if out != nil {
		if err := json.Unmarshal(e.Result, out); err != nil {
			t.Fatalf("result: %v in %s", err, a.Body)
		}
	}
	return e
}

// refused checks that an answer is an error with this status and code, and returns its message.
func (a answer) refused(t *testing.T, status, code int) string {
	t.Helper()
	var e envelope
	if err := json.Unmarshal([]byte(a.Body), &e); err != nil {
		t.Fatalf("not an envelope: %v in %d %q", err, a.Status, a.Body)
	}
	if a.Status != status || e.Success || len(e.Errors) == 0 || e.Errors[0].Code != code {
		t.Fatalf("got status %d and %s, want status %d and code %d", a.Status, a.Body, status, code)
	}
	return e.Errors[0].Message
}

// get asks the edge for a page of a host.
func (n *node) get(host, path string) answer {
	n.t.Helper()
	req, err := http.NewRequest("GET", n.edge+path, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	req.Host = host
	return n.do(req)
}

// serves checks that a customer's Worker answers with this body, through the dispatch Worker of platform.
func (n *node) serves(script, want string) {
	n.t.Helper()
	if got := n.get(script+"."+zone, "/"); got.Status != 200 || got.Body != want {
		n.t.Fatalf("%s answers %d %q, want %q", script, got.Status, got.Body, want)
	}
}

// gone checks that there is no such customer.
func (n *node) gone(script string) {
	n.t.Helper()
	if got := n.get(script+"."+zone, "/"); got.Status != 404 || !strings.Contains(got.Body, "not found") {
		n.t.Fatalf("%s still answers %d %q", script, got.Status, got.Body)
	}
}

// platform creates the namespace production and a dispatch Worker that routes by subdomain, through the plain API.
func (n *node) platform() {
	n.t.Helper()
	n.result("POST", n.acct()+"/workers/dispatch/namespaces", "application/json", `{"name":"production"}`, nil)
	code, err := os.ReadFile("testdata/dispatcher/src/index.js")
	if err != nil {
		n.t.Fatal(err)
	}
	n.upload(n.acct()+"/workers/scripts/dispatcher", []part{
		{field: "metadata", body: `{"main_module":"index.js","compatibility_date":"2026-01-01",
			"bindings":[{"type":"dispatch_namespace","name":"DISPATCHER","namespace":"production"}]}`},
		{field: "index.js", filename: "index.js", ctype: "application/javascript+module", body: string(code)},
	}).result(n.t, nil)
	n.route("*."+zone+"/*", "dispatcher")
}

// route sends what a pattern matches to an ordinary Worker.
func (n *node) route(pattern, script string) {
	n.t.Helper()
	var zones []struct{ ID string }
	n.result("GET", n.base()+"/zones?name="+zone, "", "", &zones)
	if len(zones) != 1 {
		n.t.Fatalf("zones named %s: %v", zone, zones)
	}
	body := fmt.Sprintf(`{"pattern":%q,"script":%q}`, pattern, script)
	n.result("POST", n.base()+"/zones/"+zones[0].ID+"/workers/routes", "application/json", body, nil)
}

// script is the URL of a customer's script in the namespace production.
func (n *node) script(name string) string {
	return n.acct() + "/workers/dispatch/namespaces/production/scripts/" + name
}

// A part is one part of a multipart upload; ctype and filename are left out where empty.
type part struct{ field, filename, ctype, body string }

// form encodes parts as multipart/form-data and returns the body and its content type.
func form(t *testing.T, parts []part) (body, contentType string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, p := range parts {
		h := textproto.MIMEHeader{}
		disposition := fmt.Sprintf(`form-data; name=%q`, p.field)
		if p.filename != "" {
			disposition += fmt.Sprintf(`; filename=%q`, p.filename)
		}
		h.Set("Content-Disposition", disposition)
		if p.ctype != "" {
			h.Set("Content-Type", p.ctype)
		}
		pw, err := w.CreatePart(h)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(pw, p.body)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String(), w.FormDataContentType()
}

// upload puts parts to a script's URL.
func (n *node) upload(url string, parts []part) answer {
	n.t.Helper()
	body, contentType := form(n.t, parts)
	return n.call("PUT", url, contentType, body)
}

// saying is a module whose fetch handler answers with a text.
func saying(text string) string {
	return fmt.Sprintf("export default { async fetch() { return new Response(%q) } }\n", text)
}

// matches checks that a text has the shape of a regular expression.
func matches(t *testing.T, text, pattern string) {
	t.Helper()
	if !regexp.MustCompile(pattern).MatchString(text) {
		t.Errorf("no match for %q in:\n%s", pattern, text)
	}
}

// A lockedBuffer is a buffer for a process's output that the test reads meanwhile.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newRequest is http.NewRequest with a body and headers.
func newRequest(method, url, body string, headers map[string]string) (*http.Request, error) {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	return req, nil
}
