package node_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"atoll.dev/atoll/internal/node"
	"atoll.dev/atoll/internal/sandbox"
	"atoll.dev/atoll/internal/workerd/workerdtest"
)

func TestMain(m *testing.M) {
	sandbox.Main() // this binary is also what the sandbox starts again
	os.Exit(m.Run())
}

const (
	zone  = "atoll.localhost"
	token = "the-operator's-token"
)

// rig is a running node, with a namespace "production" and all of the zone's hosts routed to a Worker "dispatcher".
type rig struct {
	t       *testing.T
	edge    string // URL
	api     string // URL
	account string
	data    string // its directory
	log     *logs
	client  *http.Client
}

func newRig(t *testing.T, cfg node.Config) *rig {
	t.Helper()
	r := &rig{t: t, log: &logs{}, client: &http.Client{
		Timeout: 60 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 256},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	r.data = t.TempDir()
	cfg.Data, cfg.Edge, cfg.API, cfg.APIToken, cfg.Zone = r.data, "127.0.0.1:0", "127.0.0.1:0", token, zone
	cfg.Workerd = workerdtest.Binary(t).Path
	cfg.Log = slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	ready, ended := make(chan string, 1), make(chan error, 1)
	cfg.Stdout = readyLine(ready)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { ended <- node.Run(ctx, cfg) }()
	t.Cleanup(func() {
		r.client.CloseIdleConnections()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the node: %v", err)
		}
		if t.Failed() {
			t.Logf("the end of the node's log:\n%s", r.log.tail())
		}
	})
	select {
	case line := <-ready:
		if _, err := fmt.Sscanf(line, "atoll: ready edge=%s api=%s account=%s", &r.edge, &r.api, &r.account); err != nil {
			t.Fatalf("ready line %q: %v", line, err)
		}
	case err := <-ended:
		ended <- err
		t.Fatalf("the node did not start: %v", err)
	}
	r.call("POST", r.acct("/workers/dispatch/namespaces"), `{"name":"production"}`, nil)
	return r
}

type readyLine chan string

func (r readyLine) Write(p []byte) (int, error) {
	r <- string(p)
	return len(p), nil
}

// logs keeps the end of a log.
type logs struct {
	mu  sync.Mutex
	buf []byte
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf = append(l.buf, p...)
	if over := len(l.buf) - 16<<10; over > 0 {
		l.buf = l.buf[over:]
	}
	return len(p), nil
}

func (l *logs) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.buf)
}

// acct is the URL of a path in the account.
func (r *rig) acct(path string) string { return r.api + "/client/v4/accounts/" + r.account + path }

// call makes a call of the API that must succeed.
func (r *rig) call(method, url, body string, result any) {
	r.t.Helper()
	if status, answer := r.request(method, url, "application/json", strings.NewReader(body), result); status != 200 {
		r.t.Fatalf("%s %s: %d %s", method, url, status, answer)
	}
}

func (r *rig) request(method, url, ctype string, body io.Reader, result any) (int, string) {
	r.t.Helper()
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", ctype)
	status, answer := r.do(req)
	envelope := struct{ Result any }{result}
	if status == 200 && result != nil {
		if err := json.Unmarshal([]byte(answer), &envelope); err != nil {
			r.t.Fatal(err)
		}
	}
	return status, answer
}

func (r *rig) do(req *http.Request) (int, string) {
	r.t.Helper()
	res, err := r.client.Do(req)
	if err != nil {
		r.t.Error(err)
		return 0, err.Error()
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Errorf("%s: %v", req.URL, err)
	}
	return res.StatusCode, string(b)
}

// upload deploys a module to a script, "name" of the account or "namespace/name", and returns what it was refused with.
func (r *rig) upload(script, code string, metadata map[string]any) string {
	r.t.Helper()
	meta := map[string]any{"main_module": "main.js", "compatibility_date": "2026-01-01", "compatibility_flags": []string{"nodejs_compat"}}
	for k, v := range metadata {
		meta[k] = v
	}
	doc, err := json.Marshal(meta)
	if err != nil {
		r.t.Fatal(err)
	}
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	w.WriteField("metadata", string(doc))
	part, err := w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {`form-data; name="main.js"; filename="main.js"`}, "Content-Type": {"application/javascript+module"}})
	if err != nil {
		r.t.Fatal(err)
	}
	io.WriteString(part, code)
	w.Close()
	url := r.acct("/workers/scripts/" + script)
	if ns, name, ok := strings.Cut(script, "/"); ok {
		url = r.acct("/workers/dispatch/namespaces/" + ns + "/scripts/" + name)
	}
	if status, answer := r.request("PUT", url, w.FormDataContentType(), &form, nil); status != 200 {
		return answer
	}
	return ""
}

// put is upload for what must not be refused.
func (r *rig) put(script, code string, bindings ...map[string]any) {
	r.t.Helper()
	if refused := r.upload(script, code, map[string]any{"bindings": bindings}); refused != "" {
		r.t.Fatalf("upload of %s: %s", script, refused)
	}
}

// dispatcher deploys a dispatch Worker and routes the zone's hosts to it. outbound is the binding's, or nil.
func (r *rig) dispatcher(code string, outbound any) {
	r.t.Helper()
	b := map[string]any{"type": "dispatch_namespace", "name": "DISPATCHER", "namespace": "production"}
	if outbound != nil {
		b["outbound"] = outbound
	}
	r.put("dispatcher", code, b)
	r.route("*."+zone+"/*", "dispatcher")
}

func (r *rig) route(pattern, script string) {
	r.t.Helper()
	var zones []struct{ ID string }
	r.call("GET", r.api+"/client/v4/zones?name="+zone, "", &zones)
	body, _ := json.Marshal(map[string]string{"pattern": pattern, "script": script})
	if status, answer := r.request("POST", r.api+"/client/v4/zones/"+zones[0].ID+"/workers/routes", "application/json", bytes.NewReader(body), nil); status != 200 && !strings.Contains(answer, "10020") {
		r.t.Fatalf("route: %d %s", status, answer)
	}
}

// get asks a host of the zone for a path.
func (r *rig) get(host, path string) (int, string) {
	r.t.Helper()
	req, err := http.NewRequest("GET", r.edge+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Host = host + "." + zone
	return r.do(req)
}

// until waits for something to be so, for 20 seconds at the most.
func (r *rig) until(what string, so func() bool) {
	r.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); !so(); <-tick.C {
		if time.Now().After(end) {
			r.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// want checks what a host answers.
func (r *rig) want(host, path string, status int, body string) {
	r.t.Helper()
	if gotStatus, got := r.get(host, path); gotStatus != status || got != body {
		r.t.Errorf("%s%s: %d %q, want %d %q", host, path, gotStatus, got, status, body)
	}
}

// authority is a certificate authority of the test's.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // its certificate in PEM
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key, file}
}

// serve starts an HTTPS server for names below localhost and returns its port.
func (a *authority) serve(t *testing.T, h http.Handler, names ...string) (port string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(time.Hour), DNSNames: names}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	s.StartTLS()
	t.Cleanup(s.Close)
	_, port, _ = net.SplitHostPort(s.Listener.Addr().String())
	return port
}
