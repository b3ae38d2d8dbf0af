package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"mime/multipart"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestKillDuringDeploys kills the node with SIGKILL amid 500 deploys, in five rounds on the same data. After each round
// every script is what its last acknowledged deploy made it, or what one in flight would have, and never a mix of two.
func TestKillDuringDeploys(t *testing.T) {
	const rounds, perRound, names = 5, 100, 40
	workerd, dir := findWorkerd(t), t.TempDir()
	// acked and tried are the last acknowledged and the last sent deploy of each name, as the text it binds.
	acked, tried := make([]string, names), make([]string, names)
	n := startRaw(t, workerd, dir)
	n.do(t, "POST", "/workers/dispatch/namespaces", "application/json", strings.NewReader(`{"name":"production"}`), nil)
	for round := range rounds {
		var sent, done atomic.Int64
		killAt := int64(10 + rand.IntN(perRound-20))
		var wg sync.WaitGroup
		for worker := range 4 { // each has names of its own, so the order of a name's deploys is known
			wg.Go(func() {
				for i := worker; sent.Add(1) <= perRound; i = (i + 4) % names {
					text := fmt.Sprintf("%c, deploy %d of round %d", 'a'+rand.IntN(8), sent.Load(), round)
					tried[i] = text
					if !n.deploy(t, fmt.Sprintf("s-%d", i), text) {
						return
					}
					acked[i] = text
					if done.Add(1) == killAt {
						n.cmd.Process.Kill()
					}
				}
			})
		}
		wg.Wait()
		n.cmd.Wait()
		n = startRaw(t, workerd, dir)
		t.Logf("round %d: killed after %d of %d deploys", round, killAt, perRound)
		for i := range names {
			got := n.deployed(t, fmt.Sprintf("s-%d", i))
			if got != acked[i] && got != tried[i] {
				t.Errorf("round %d: s-%d is %q; acknowledged was %q, and last sent %q", round, i, got, acked[i], tried[i])
			}
			acked[i], tried[i] = got, got
		}
		if t.Failed() {
			return
		}
	}
}

// A rawNode is the program serving, and how to reach its API.
type rawNode struct {
	cmd  *exec.Cmd
	edge string
	base string // of the account
	auth string
}

// startRaw starts this test's binary as atoll on a data directory.
func startRaw(t *testing.T, workerd, dir string) *rawNode {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := &exec.Cmd{
		Path:        self,
		Args:        []string{"atoll", "serve", "--data", dir, "--edge", "127.0.0.1:0", "--api", "127.0.0.1:0", "--workerd", workerd},
		SysProcAttr: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	}
	var logs bytes.Buffer
	cmd.Stderr = &logs
	stdout, err := cmd.StdoutPipe()
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
			t.Logf("a node's log:\n%s", logs.String())
		}
	})
	watchdog := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
	defer watchdog.Stop()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	fields := strings.Fields(line)
	if err != nil || len(fields) != 5 {
		t.Fatalf("the node was not ready: %q %v", line, err)
	}
	token, err := os.ReadFile(filepath.Join(dir, "api-token"))
	if err != nil {
		t.Fatal(err)
	}
	api, account := strings.TrimPrefix(fields[3], "api="), strings.TrimPrefix(fields[4], "account=")
	return &rawNode{cmd, strings.TrimPrefix(fields[2], "edge="), api + "/client/v4/accounts/" + account, "Bearer " + strings.TrimSpace(string(token))}
}

// module is the code of a deploy. Its comment has the first letter of the text that the deploy binds, so that a mix of two
// deploys shows, and there are few enough of them that the node need not start each.
func module(text string) string {
	return "export default { fetch(request, env) { return new Response(env.TEXT) } } // " + text[:1]
}

// deploy uploads a script and says whether it was acknowledged; a node that is gone acknowledges nothing.
func (n *rawNode) deploy(t *testing.T, name, text string) bool {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	meta, err := json.Marshal(map[string]any{"main_module": "w.mjs",
		"bindings": []any{map[string]string{"type": "plain_text", "name": "TEXT", "text": text}}})
	if err != nil {
		t.Error(err)
		return false
	}
	w.WriteField("metadata", string(meta))
	w.WriteField("w.mjs", module(text))
	w.Close()
	req, err := http.NewRequest("PUT", n.base+"/workers/dispatch/namespaces/production/scripts/"+name, &b)
	if err != nil {
		t.Error(err)
		return false
	}
	req.Header.Set("Authorization", n.auth)
	req.Header.Set("Content-Type", w.FormDataContentType())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != 200 {
		t.Errorf("%s: %s %s", name, resp.Status, body)
	}
	return err == nil && resp.StatusCode == 200
}

// deployed is the text that a script is bound to, "" where there is no script, and a complaint where its content is that
// of another deploy.
func (n *rawNode) deployed(t *testing.T, name string) string {
	t.Helper()
	url := "/workers/dispatch/namespaces/production/scripts/" + name
	var bindings []struct{ Text string }
	if status := n.do(t, "GET", url+"/bindings", "", nil, &bindings); status == 404 {
		return ""
	}
	if len(bindings) != 1 {
		return fmt.Sprintf("%d bindings", len(bindings))
	}
	req, err := http.NewRequest("GET", n.base+url+"/content", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", n.auth)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if want := module(bindings[0].Text); string(content) != want {
		return fmt.Sprintf("half: %q and %q", bindings[0].Text, content)
	}
	return bindings[0].Text
}

// do makes a call of the API that must be answered and returns its status; result may be nil.
func (n *rawNode) do(t *testing.T, method, path, ctype string, body io.Reader, result any) int {
	t.Helper()
	req, err := http.NewRequest(method, n.base+path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", n.auth)
	if ctype != "" {
		req.Header.Set("Content-Type", ctype)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var e struct{ Result json.RawMessage }
	if err := json.NewDecoder(resp.Body).Decode(&e); err != nil {
		t.Fatal(err)
	}
	if result != nil && resp.StatusCode == 200 {
		if err := json.Unmarshal(e.Result, result); err != nil {
			t.Fatal(err)
		}
	}
	return resp.StatusCode
}
