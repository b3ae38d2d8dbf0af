package clients_test

import (
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// oracleHost is where an oracle's Worker is reached.
const oracleHost = "oracle." + zone

// oracleDate is the compatibility date of the oracles' Workers.
const oracleDate = "2026-01-01"

// oracleRandom is what an oracle's operations are generated from. ATOLL_SEED repeats a run; a failure prints it.
func oracleRandom(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("ATOLL_SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("ATOLL_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// oracleCount is how many operations an oracle makes: as many as ATOLL_ORACLE says, where that is set.
func oracleCount(normal int) int {
	if n, err := strconv.Atoi(os.Getenv("ATOLL_ORACLE")); err == nil && n > 0 {
		return n
	}
	return normal
}

// oracleWorker is the Worker of an oracle, which is named as its folder in testdata is.
func oracleWorker(t *testing.T, name string) string {
	t.Helper()
	code, err := os.ReadFile(filepath.Join("testdata", name, "worker.js"))
	if err != nil {
		t.Fatal(err)
	}
	return string(code)
}

// oracleUpload uploads an oracle's Worker to a script's URL, with bindings in JSON. The host is oracleHost where the script's
// name is oracle, once that is routed.
func (n *node) oracleUpload(url, code, bindings string) {
	n.t.Helper()
	n.upload(url, []part{
		{field: "metadata", body: `{"main_module":"worker.js","compatibility_date":"` + oracleDate + `","bindings":` + bindings + `}`},
		{field: "worker.js", filename: "worker.js", ctype: "application/javascript+module", body: code},
	}).result(n.t, nil)
}

// oracleOrdinary does so for an ordinary script, and routes to it.
func (n *node) oracleOrdinary(code, bindings string) {
	n.t.Helper()
	n.oracleUpload(n.acct()+"/workers/scripts/oracle", code, bindings)
	n.route(oracleHost+"/*", "oracle")
}

// onMiniflare serves the Worker by miniflare, with further options, and returns its URL.
func onMiniflare(t *testing.T, code string, more map[string]any) string {
	t.Helper()
	clients, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	worker := map[string]any{"name": "oracle", "compatibilityDate": oracleDate,
		"modules": []map[string]any{{"type": "ESModule", "path": "worker.js", "contents": code}}}
	for name, option := range more {
		worker[name] = option
	}
	options, err := json.Marshal(map[string]any{"host": "127.0.0.1", "port": 0, "cf": false, "workers": []any{worker}})
	if err != nil {
		t.Fatal(err)
	}
	var said lockedBuffer
	cmd := exec.Command(filepath.Join(clients, "node_modules/.bin/node"), filepath.Join(clients, root, "bench/miniflare.mjs"), clients)
	cmd.Dir, cmd.Stdin, cmd.Stderr = t.TempDir(), bytes.NewReader(options), &said
	cmd.Env = append(cleanEnv(), "HOME="+cmd.Dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} // so that it ends its workerd
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		if t.Failed() {
			t.Logf("miniflare's log:\n%.5000s", said.String())
		}
	})
	line := make([]byte, 200)
	size, err := out.Read(line)
	address, ok := strings.CutPrefix(strings.TrimSpace(string(line[:size])), "ready ")
	if err != nil || !ok {
		t.Fatalf("miniflare says %q, %v: %s", line[:size], err, said.String())
	}
	return "http://" + address
}

// oracleSteps has the Worker at base make the steps, and returns its answer to each.
func oracleSteps(t *testing.T, base, host string, steps []map[string]any) []any {
	t.Helper()
	body, err := json.Marshal(steps)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest("POST", base+"/", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answers []any
	if err := json.Unmarshal(text, &answers); err != nil || len(answers) != len(steps) {
		t.Fatalf("status %d, %d answers to %d steps: %.500s", resp.StatusCode, len(answers), len(steps), text)
	}
	return answers
}

// oracleDiffers reports that the two answer a step in different ways.
func oracleDiffers(t *testing.T, at int, step, ours, theirs any) {
	t.Helper()
	text, _ := json.Marshal(step)
	a, _ := json.Marshal(ours)
	b, _ := json.Marshal(theirs)
	t.Errorf("step %d, %.600s:\nours      %.1200s\nminiflare %.1200s", at, text, a, b)
}
