package assets

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/workerd/workerdtest"
)

// trial is one site that both workerd's own assets service and ours serve.
type trial struct {
	files  map[string]string
	config atoll.AssetsConfig
	worker bool
	date   string
}

// engine is a workerd that serves trials, each on a socket of its own.
type engine struct {
	t   *testing.T
	dir string
}

// startEngine starts workerd's assets service over the trials.
func startEngine(t *testing.T, trials []trial) *engine {
	t.Helper()
	dir, err := os.MkdirTemp("", "assets-") // t.TempDir may be longer than the 107 bytes of a Unix socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	var services, sockets []string
	for i, tr := range trials {
		for path, content := range tr.files {
			name := filepath.Join(dir, fmt.Sprint(i), filepath.FromSlash(path))
			if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		os.MkdirAll(filepath.Join(dir, fmt.Sprint(i)), 0o700)
		more := fmt.Sprintf("compatibilityDate = %q", tr.date)
		if tr.worker {
			more = fmt.Sprintf("userWorker = \"w%d\"", i)
			services = append(services, fmt.Sprintf("(name = \"w%d\", worker = (compatibilityDate = %q, modules = [(name = \"w.js\", esModule = %q)]))", i, tr.date, workerCode))
		}
		services = append(services, fmt.Sprintf("(name = \"a%d\", assets = (path = \"%d\", config = %q, %s))", i, i, engineConfig(t, tr.config), more))
		sockets = append(sockets, fmt.Sprintf("(name = \"s%d\", address = \"unix:%s/s%d\", http = (), service = \"a%d\")", i, dir, i, i))
	}
	text := "using Workerd = import \"/workerd/workerd.capnp\";\nconst config :Workerd.Config = (\n services = [\n" +
		strings.Join(services, ",\n") + "],\n sockets = [\n" + strings.Join(sockets, ",\n") + "]);\n"
	if err := os.WriteFile(filepath.Join(dir, "c.capnp"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(workerdtest.Binary(t).Path, "serve", "--experimental", "c.capnp")
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("workerd: %.3000s", stderr.String())
		}
	})
	return &engine{t, dir}
}

// workerCode is the Worker of a trial: it says that it was asked.
const workerCode = `export default { fetch() { return new Response("the Worker", { status: 299 }) } }`

// engineConfig is the configuration in the form of workerd's AssetsService.
func engineConfig(t *testing.T, c atoll.AssetsConfig) string {
	t.Helper()
	m := map[string]any{}
	for name, value := range map[string]string{"html_handling": c.HTMLHandling, "not_found_handling": c.NotFoundHandling,
		"base_path": c.BasePath, "headers": c.Headers, "redirects": c.Redirects} {
		if value != "" {
			m[name] = value
		}
	}
	if c.WorkerFirst {
		m["run_worker_first"] = true
	}
	if c.WorkerFirstRules != nil {
		m["run_worker_first"] = c.WorkerFirstRules
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// conn is a connection to one trial's socket.
type conn struct {
	net.Conn
	br *bufio.Reader
}

func (e *engine) dial(i int) *conn {
	e.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		c, err := net.Dial("unix", fmt.Sprintf("%s/s%d", e.dir, i))
		if err == nil {
			return &conn{c, bufio.NewReader(c)}
		}
		if time.Now().After(deadline) {
			e.t.Fatal(err)
		}
		<-time.After(20 * time.Millisecond) // until workerd listens
	}
}

// ask sends a request as it is; the headers are pairs.
func (c *conn) ask(method, target string, header ...string) (got, error) {
	text := method + " " + target + " HTTP/1.1\r\nHost: example.com\r\n"
	for i := 0; i < len(header); i += 2 {
		text += header[i] + ": " + header[i+1] + "\r\n"
	}
	if method == http.MethodPost {
		text += "Content-Length: 0\r\n"
	}
	if _, err := io.WriteString(c, text+"\r\n"); err != nil {
		return got{}, err
	}
	res, err := http.ReadResponse(c.br, &http.Request{Method: method})
	if err != nil {
		return got{}, err
	}
	body, err := io.ReadAll(res.Body)
	return got{status: res.StatusCode, header: res.Header, body: string(body)}, err
}

// request is one that both are asked.
type request struct {
	method, target string
	header         []string
}

// TestEngine serves thousands of generated combinations of files, configuration and requests by workerd's own assets
// service and by ours, and compares the answers. Where ours is meant to differ, docs/assets.md says so.
func TestEngine(t *testing.T) {
	const sites, requests = 150, 70
	rnd := rand.New(rand.NewPCG(1, 6))
	trials := make([]trial, sites)
	for i := range trials {
		trials[i] = generate(rnd)
	}
	e, r := startEngine(t, trials), newRig(t, Options{})
	failures := 0
	for i, tr := range trials {
		site := r.site(tr.files, tr.config, func(v *atoll.Version) {
			v.CompatibilityDate = tr.date
			if tr.worker {
				withWorker(v)
			}
		})
		c := e.dial(i)
		for range requests {
			q := tr.request(rnd)
			theirs, err := c.ask(q.method, q.target, q.header...)
			if err != nil {
				t.Fatalf("%s %s of %+v: %v", q.method, q.target, tr, err)
			}
			ours := r.ask(site, q.method, q.target, q.header...)
			if ours.route != ToAssets {
				ours = got{status: 299, body: "the Worker"}
				if q.method == http.MethodHead {
					ours.body = ""
				}
			}
			if diff := difference(ours, theirs); diff != "" {
				t.Errorf("%s %s %q: %s\n\tof %+v", q.method, q.target, q.header, diff, tr)
				if failures++; failures > 20 {
					t.FailNow()
				}
			}
			if tag := theirs.header.Get("Etag"); tag != "" && theirs.status == 200 {
				tr.again(t, r, c, site, q, tag)
			}
			if theirs.status == http.StatusInternalServerError { // after which workerd closes the connection
				c.Close()
				c = e.dial(i)
			}
		}
		c.Close()
	}
}

// again asks both whether what they have just served has changed.
func (tr trial) again(t *testing.T, r *rig, c *conn, site *Site, q request, tag string) {
	t.Helper()
	theirs, err := c.ask(q.method, q.target, append(slices.Clone(q.header), "If-None-Match", "W/"+tag)...)
	if err != nil {
		t.Fatal(err)
	}
	own := r.ask(site, q.method, q.target, q.header...).header.Get("Etag")
	ours := r.ask(site, q.method, q.target, append(slices.Clone(q.header), "If-None-Match", "W/"+own)...)
	if diff := difference(ours, theirs); diff != "" && !slices.Contains(q.header, "If-None-Match") {
		t.Errorf("%s %s with If-None-Match: %s\n\tof %+v", q.method, q.target, diff, tr)
	}
}

// difference compares what matters of two answers.
func difference(ours, theirs got) string {
	var out []string
	if ours.status == http.StatusInternalServerError && theirs.status == ours.status {
		return "" // the text of a failure is everyone's own
	}
	if ours.status != theirs.status {
		out = append(out, fmt.Sprintf("status %d, theirs %d", ours.status, theirs.status))
	}
	if ours.body != theirs.body {
		out = append(out, fmt.Sprintf("body %q, theirs %q", ours.body, theirs.body))
	}
	for _, name := range []string{"Location", "Content-Type", "Cache-Control", "X-A", "X-B", "X-C"} {
		a, b := strings.Join(ours.header[name], ", "), strings.Join(theirs.header[name], ", ")
		if a != b && theirs.status != 299 {
			out = append(out, fmt.Sprintf("%s %q, theirs %q", name, a, b))
		}
	}
	if (ours.header.Get("Etag") == "") != (theirs.header.Get("Etag") == "") {
		out = append(out, fmt.Sprintf("ETag %q, theirs %q", ours.header.Get("Etag"), theirs.header.Get("Etag")))
	}
	return strings.Join(out, "; ")
}

// TestEngineDiffers holds the differences that docs/assets.md lists, from both sides: should workerd's service learn one,
// the list is to be shortened.
func TestEngineDiffers(t *testing.T) {
	text := strings.Repeat("text ", 200)
	tr := trial{date: "2026-01-01", files: map[string]string{"/a.txt": text, "/b.txt": text}, config: atoll.AssetsConfig{Headers: "/a.txt\n  bad name: x\n  X-A: yes\n  Server: mine\n"}}
	e, r := startEngine(t, []trial{tr}), newRig(t, Options{})
	c := e.dial(0)
	defer c.Close()
	site := r.site(tr.files, tr.config)
	for _, d := range []struct {
		name         string
		header       []string
		ours, theirs func(got) string
		want, wanted string
	}{
		{"a range", []string{"Range", "bytes=0-3"}, statusOf, statusOf, "206", "200"},
		{"a coding", []string{"Accept-Encoding", "gzip"}, headerOf("Content-Encoding"), headerOf("Content-Encoding"), "gzip", ""},
		{"where it came from", nil, headerOf("Cf-Cache-Status"), headerOf("Cf-Cache-Status"), "HIT", ""},
		{"ranges are offered", nil, headerOf("Accept-Ranges"), headerOf("Accept-Ranges"), "bytes", ""},
		{"the server's headers", nil, headerOf("Server"), headerOf("Server"), "", "mine"},
	} {
		theirs, err := c.ask("GET", "/a.txt", d.header...)
		if err != nil {
			t.Fatal(err)
		}
		ours := r.send(site, &Request{Method: "GET", Target: "/a.txt", Codings: All}, d.header...)
		if got := d.ours(ours); got != d.want {
			t.Errorf("%s: ours is %q, want %q", d.name, got, d.want)
		}
		if got := d.theirs(theirs); got != d.wanted {
			t.Errorf("%s: theirs is %q, want %q", d.name, got, d.wanted)
		}
	}
	// The same content has the same ETag at every path.
	if a, b := r.ask(site, "GET", "/a.txt").header.Get("Etag"), r.ask(site, "GET", "/b.txt").header.Get("Etag"); a != b {
		t.Errorf("ETags %s and %s", a, b)
	}
}

func statusOf(g got) string { return fmt.Sprint(g.status) }

func headerOf(name string) func(got) string {
	return func(g got) string { return g.header.Get(name) }
}
