package hostile_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/node"
	"atoll.dev/atoll/internal/workerd/workerdtest"
)

const (
	zone   = "atoll.localhost"
	token  = "an-operator's-token-that-no-Worker-may-see"
	secret = "alice's-secret-that-no-other-Worker-may-see"
)

// A site is a running node with a dispatch Worker, an innocent tenant called alice, and a server on this machine that no
// Worker may reach.
type site struct {
	edge    string // URL
	api     string // URL
	account string
	data    string // the node's data directory
	log     *logs
	client  *http.Client
	aliceKV string // id of alice's KV namespace
	aliceUp string // id of a multipart upload of hers

	aliceClass, aliceObject string // ids of her class of Durable Objects, and of one of them

	canary  *httptest.Server
	reached atomic.Int64 // requests that the canary got
	stop    func() error // ends the node as SIGTERM does
}

// newSite starts a node that ends with the test.
func newSite(t *testing.T) *site {
	t.Helper()
	// Not t.TempDir, which an ordinary user's TestMain may have made too long for sockets.
	data, err := os.MkdirTemp("", "hostile-")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{data: data, log: &logs{}, client: &http.Client{
		Transport:     &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	s.canary = httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { s.reached.Add(1) }))
	// The defaults, but for what would take long.
	limits := atoll.DefaultLimits()
	limits.StartupCPUMs = 300
	limits.CacheMemory, limits.CacheDisk = 2<<20, 16<<20
	limits.DurableStorage = 100 << 20
	limits.Processes = 1 // of a script, so that its requests are in one isolate
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- node.Run(ctx, node.Config{
			Data: data, Edge: "127.0.0.1:0", API: "127.0.0.1:0", APIToken: token, Zone: zone,
			Workerd: workerdtest.Binary(t).Path, Stdout: readyLine(ready), Limits: limits,
			Log: slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelInfo})),
		})
	}()
	s.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() {
		s.client.CloseIdleConnections()
		if err := s.stop(); err != nil {
			t.Errorf("the node: %v", err)
		}
		s.canary.Close()
		if t.Failed() {
			t.Logf("the end of the node's log:\n%s", s.log.tail())
		}
		os.RemoveAll(data)
	})
	select {
	case line := <-ready:
		if _, err := fmt.Sscanf(line, "atoll: ready edge=%s api=%s account=%s", &s.edge, &s.api, &s.account); err != nil {
			t.Fatalf("ready line %q: %v", line, err)
		}
	case err := <-ended:
		ended <- err
		t.Fatalf("the node did not start: %v", err)
	case <-time.After(30 * time.Second):
		t.Fatal("the node was not ready within 30 s")
	}
	s.furnish(t)
	return s
}

// readyLine passes a node's ready line on.
type readyLine chan string

func (r readyLine) Write(p []byte) (int, error) {
	r <- string(p)
	return len(p), nil
}

// furnish sets the platform up.
func (s *site) furnish(t *testing.T) {
	t.Helper()
	s.call(t, "POST", s.acct()+"/workers/dispatch/namespaces", map[string]string{"name": "production"}, nil)
	s.put(t, s.acct()+"/workers/scripts/dispatcher", upload{files: []string{"dispatcher.js"},
		binds: []map[string]any{{"type": "dispatch_namespace", "name": "DISPATCHER", "namespace": "production"}}})
	var zones []struct{ ID string }
	s.call(t, "GET", s.api+"/client/v4/zones?name="+zone, nil, &zones)
	if len(zones) != 1 {
		t.Fatalf("zones: %v", zones)
	}
	s.call(t, "POST", s.api+"/client/v4/zones/"+zones[0].ID+"/workers/routes",
		map[string]string{"pattern": "*." + zone + "/*", "script": "dispatcher"}, nil)
	s.aliceKV = s.namespace(t, "alice")
	s.put(t, s.script("alice"), upload{files: []string{"alice.js"}, binds: []map[string]any{
		{"type": "kv_namespace", "name": "KV", "namespace_id": s.aliceKV}, {"type": "secret_text", "name": "TOKEN", "text": secret}}})
	s.want(t, "alice", "/prepare", "", aliceSays)
}

var aliceSays = fmt.Sprintf("^200 hello from alice: alice-value %d$", len(secret))

// namespace makes a KV namespace and returns its id.
func (s *site) namespace(t *testing.T, title string) string {
	t.Helper()
	var kv struct{ ID string }
	s.call(t, "POST", s.acct()+"/storage/kv/namespaces", map[string]string{"title": title}, &kv)
	return kv.ID
}

func (s *site) acct() string { return s.api + "/client/v4/accounts/" + s.account }

func (s *site) script(name string) string {
	return s.acct() + "/workers/dispatch/namespaces/production/scripts/" + name
}

// call makes a call of the API that must succeed.
func (s *site) call(t *testing.T, method, url string, body, result any) {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	if message := s.tell(t, method, url, "application/json", b, result); message != "" {
		t.Fatalf("%s %s: %s", method, url, message)
	}
}

// tell makes a call of the API and returns what it was refused with, or "".
func (s *site) tell(t *testing.T, method, url, contentType string, body []byte, result any) string {
	t.Helper()
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", contentType)
	res, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var e struct {
		Success bool
		Errors  []struct {
			Code    int
			Message string
		}
		Result json.RawMessage
	}
	if err := json.NewDecoder(res.Body).Decode(&e); err != nil {
		t.Fatalf("%s %s: %s: %v", method, url, res.Status, err)
	}
	if !e.Success {
		return fmt.Sprint(e.Errors)
	}
	if result != nil {
		if err := json.Unmarshal(e.Result, result); err != nil {
			t.Fatal(err)
		}
	}
	return ""
}

// An upload is a Worker as it is sent to the API.
type upload struct {
	files []string          // of testdata; the first is the main module
	code  map[string][]byte // more modules, by name
	flags []string
	date  string
	binds []map[string]any

	classes []string // of Durable Objects, made with this upload
}

// send uploads a Worker and returns what it was refused with, or "".
func (s *site) send(t *testing.T, url string, u upload) string {
	t.Helper()
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	date := u.date
	if date == "" {
		date = "2025-06-01"
	}
	md := map[string]any{"main_module": u.files[0], "compatibility_date": date, "compatibility_flags": u.flags, "bindings": u.binds}
	if len(u.classes) > 0 {
		md["migrations"] = map[string]any{"new_tag": "v1", "new_sqlite_classes": u.classes}
	}
	meta, err := json.Marshal(md)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.WriteField("metadata", string(meta)); err != nil {
		t.Fatal(err)
	}
	module := func(name string, data []byte) {
		ctype := "application/javascript+module"
		if strings.HasSuffix(name, ".wasm") {
			ctype = "application/wasm"
		}
		part, err := w.CreatePart(textproto.MIMEHeader{"Content-Type": {ctype},
			"Content-Disposition": {fmt.Sprintf("form-data; name=%q; filename=%q", name, name)}})
		if err != nil {
			t.Fatal(err)
		}
		part.Write(data)
	}
	for _, f := range u.files {
		data, err := os.ReadFile(filepath.Join("testdata", f))
		if err != nil {
			t.Fatal(err)
		}
		module(f, data)
	}
	for name, data := range u.code {
		module(name, data)
	}
	w.Close()
	return s.tell(t, "PUT", url, w.FormDataContentType(), form.Bytes(), nil)
}

// put uploads a Worker that must be accepted.
func (s *site) put(t *testing.T, url string, u upload) {
	t.Helper()
	if message := s.send(t, url, u); message != "" {
		t.Fatalf("upload of %s: %s", url, message)
	}
}

// upload is the attack as it is sent to the API.
func (a attack) upload() upload {
	return upload{files: []string{"main.js", "clean.js"}, code: map[string][]byte{"attack.js": []byte(a.code)}, flags: a.flags, date: a.date, binds: a.binds, classes: a.classes}
}

// deploy uploads an attack, and says whether it is there; one that is to be refused never is.
func (s *site) deploy(t *testing.T, host string, a attack) bool {
	t.Helper()
	message := s.send(t, s.script(host), a.upload())
	switch {
	case a.refused == "" && message != "":
		t.Fatalf("the upload was refused: %s", message)
	case a.refused != "" && !strings.Contains(message, a.refused):
		t.Errorf("the upload was refused with %q, want %q", message, a.refused)
	}
	return a.refused == ""
}

// limits is the header that tells the dispatch Worker of an attack's limits.
func (a attack) limits() string {
	l := map[string]int{"cpuMs": 50, "subRequests": 50}
	if a.cpuMs != 0 {
		l["cpuMs"] = a.cpuMs
	}
	if a.subRequests != 0 {
		l["subRequests"] = a.subRequests
	}
	b, _ := json.Marshal(l) // integers always marshal
	return string(b)
}

// request makes a request to a host of the zone.
func (s *site) request(t *testing.T, method, host, path, limits string, body io.Reader) *http.Request {
	t.Helper()
	if path == "" {
		path = "/"
	}
	req, err := http.NewRequest(method, s.edge+path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host + "." + zone
	if limits != "" {
		req.Header.Set("X-Limits", limits)
	}
	return req
}

// get asks a host for a path and returns "STATUS BODY", or why there was no answer.
func (s *site) get(t *testing.T, host, path, limits string) string {
	t.Helper()
	return s.do(s.request(t, "GET", host, path, limits, nil))
}

// maxBody is how much of an answer is read.
const maxBody = 1 << 20

func (s *site) do(req *http.Request) string {
	ctx, cancel := context.WithTimeout(req.Context(), 20*time.Second)
	defer cancel()
	req = req.WithContext(ctx)
	res, err := s.client.Do(req)
	if err != nil {
		return "no answer: " + err.Error()
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	if err != nil {
		return fmt.Sprintf("%d broken off: %v", res.StatusCode, err)
	}
	return fmt.Sprintf("%d %s", res.StatusCode, b)
}

// want asks a host for a path and checks the answer.
func (s *site) want(t *testing.T, host, path, limits, pattern string) {
	t.Helper()
	if got := s.get(t, host, path, limits); !regexp.MustCompile(pattern).MatchString(got) {
		t.Errorf("GET %s of %s: got %.300q, want %s", path, host, got, pattern)
	}
}

// untouched checks that nothing on this machine was reached.
func (s *site) untouched(t *testing.T) {
	t.Helper()
	if n := s.reached.Load(); n > 0 {
		t.Errorf("%d requests reached a server on this machine", n)
	}
}

// keepsSecrets looks for alice's secret where others on the machine may look: on command lines, in environments, in files.
func (s *site) keepsSecrets(t *testing.T) {
	t.Helper()
	s.want(t, "alice", "/", "", aliceSays) // it is in use
	files := []string{}
	for pid := range engines() {
		files = append(files, fmt.Sprintf("/proc/%d/cmdline", pid), fmt.Sprintf("/proc/%d/environ", pid))
	}
	runs, err := filepath.Glob(filepath.Join(os.TempDir(), "atoll-run-*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range append(runs, s.data) {
		filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				files = append(files, path)
			}
			return nil
		})
	}
	for _, name := range files {
		if b, err := os.ReadFile(name); err == nil && (bytes.Contains(b, []byte(secret)) || bytes.Contains(b, []byte(token))) {
			t.Errorf("%s has a secret in clear", name)
		}
	}
	if len(files) < 10 {
		t.Errorf("only %d files were looked at", len(files))
	}
}

// holdsTheDoor tries to speak for processes from outside, by the sockets through which they reach the node.
func (s *site) holdsTheDoor(t *testing.T) {
	t.Helper()
	table, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line)
		path := fields[len(fields)-1]
		if !strings.HasSuffix(path, "/out/sock") || !strings.HasPrefix(path, os.TempDir()) {
			continue
		}
		c, err := net.Dial("unix", path)
		if err != nil {
			continue // of a process that is gone
		}
		tried++
		c.SetDeadline(time.Now().Add(patience))
		fmt.Fprintf(c, "GET /alice-key HTTP/1.1\r\nHost: x\r\nAtoll-Service: binding/0\r\n\r\n")
		if b, _ := io.ReadAll(c); len(b) > 0 {
			t.Errorf("the node answered to somebody who is not the process: %.200q", b)
		}
		c.Close()
	}
	if tried == 0 {
		t.Error("no socket was found")
	}
}

// dial opens a raw connection to the edge.
func (s *site) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.edge, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(60 * time.Second))
	return c
}

// logs keeps the end of what a node logs, and finds what must not be there.
type logs struct {
	mu   sync.Mutex
	data []byte
	size int64 // of all that was logged
}

const keepLogs = 64 << 10

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.size += int64(len(p))
	l.data = append(l.data, p...)
	if over := len(l.data) - keepLogs; over > keepLogs {
		l.data = append(l.data[:0], l.data[over:]...)
	}
	return len(p), nil
}

func (l *logs) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.data[max(0, len(l.data)-keepLogs/4):])
}

func (l *logs) written() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.size
}
