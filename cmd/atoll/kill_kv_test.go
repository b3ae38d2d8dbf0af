package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"mime/multipart"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// kvWriter is a Worker that puts what is sent to it, and deletes.
const kvWriter = `export default { async fetch(request, env) {
	const key = new URL(request.url).pathname.slice(1);
	if (request.method === "DELETE") await env.KV.delete(key);
	else await env.KV.put(key, request.body);
	return new Response("done");
} }`

// TestKillDuringKV kills the node with SIGKILL amid writes to KV, by a Worker and by the API, single ones and in bulk, small
// and large. Afterwards every key holds what was last acknowledged, or what was in flight, whole. KILL_ROUNDS sets how
// often.
func TestKillDuringKV(t *testing.T) {
	rounds := 5
	if n, err := strconv.Atoi(os.Getenv("KILL_ROUNDS")); err == nil {
		rounds = n
	}
	workerd, dir := findWorkerd(t), t.TempDir()
	n := startRaw(t, workerd, dir)
	var ns struct{ ID string }
	n.do(t, "POST", "/storage/kv/namespaces", "application/json", strings.NewReader(`{"title":"killed"}`), &ns)
	n.put(t, "/workers/scripts/writer", kvWriter, map[string]string{"type": "kv_namespace", "name": "KV", "namespace_id": ns.ID})
	if err := n.atoll(t, dir, "route", "add", "kv.atoll.localhost/*", "writer"); err != nil {
		t.Fatal(err)
	}
	values := "/storage/kv/namespaces/" + ns.ID
	ways := []kvWay{
		{"worker", func(n *rawNode, key, v string) bool { return n.sends("PUT", n.edge+"/"+key, v) }},
		{"worker-large", func(n *rawNode, key, v string) bool {
			return n.sends("PUT", n.edge+"/"+key, v+strings.Repeat("x", 3<<19))
		}},
		{"worker-delete", func(n *rawNode, key, v string) bool {
			return n.sends("DELETE", n.edge+"/"+key, "") && n.sends("PUT", n.edge+"/"+key, v)
		}},
		{"api", func(n *rawNode, key, v string) bool { return n.sends("PUT", n.base+values+"/values/"+key, v) }},
		{"bulk", func(n *rawNode, key, v string) bool {
			pairs := []map[string]string{}
			for i := range 40 {
				pairs = append(pairs, map[string]string{"key": fmt.Sprintf("%s-%d", key, i), "value": v})
			}
			b, _ := json.Marshal(append(pairs, map[string]string{"key": key, "value": v})) // strings always marshal
			return n.sends("PUT", n.base+values+"/bulk", string(b))
		}},
	}
	acked, tried := make([]int, len(ways)), make([]int, len(ways))
	for round := range rounds {
		killer := time.AfterFunc(time.Duration(100+rand.IntN(800))*time.Millisecond, func() { n.cmd.Process.Kill() })
		var group sync.WaitGroup
		for i, way := range ways {
			group.Go(func() {
				for {
					tried[i]++
					if !way.write(n, way.key, fmt.Sprintf("%d.", tried[i])) {
						return
					}
					acked[i] = tried[i]
				}
			})
		}
		group.Wait()
		killer.Stop()
		n.cmd.Process.Kill()
		n.cmd.Wait()
		n = startRaw(t, workerd, dir)
		for i, way := range ways {
			got := n.value(t, values+"/values/"+way.key)
			number, rest, _ := strings.Cut(got, ".")
			v, _ := strconv.Atoi(number) // 0: none
			whole := rest == ""
			if way.key == "worker-large" {
				whole = v == 0 || len(rest) == 3<<19
			}
			// A delete in flight may be all that was done of a write.
			if v != acked[i] && v != tried[i] && !(way.key == "worker-delete" && got == "") || !whole {
				t.Fatalf("round %d: %s holds %.20q (%d bytes); acknowledged was %d, last sent %d", round, way.key, got, len(got), acked[i], tried[i])
			}
			for j := 0; way.key == "bulk" && j < 40; j++ {
				w, _ := strconv.Atoi(strings.TrimSuffix(n.value(t, fmt.Sprintf("%s/values/bulk-%d", values, j)), "."))
				if w != acked[i] && w != tried[i] {
					t.Fatalf("round %d: bulk-%d holds %d; acknowledged was %d, last sent %d", round, j, w, acked[i], tried[i])
				}
			}
			acked[i] = max(v, acked[i])
		}
	}
	t.Logf("%d rounds of writes: %v", rounds, acked)
}

// kvWay is one way to write a key of its own.
type kvWay struct {
	key   string
	write func(n *rawNode, key, value string) bool
}

// sends makes a request and says whether it was acknowledged; a node that is gone acknowledges nothing.
func (n *rawNode) sends(method, url, body string) bool {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return false
	}
	req.Header.Set("Authorization", n.auth)
	req.Header.Set("Content-Type", "application/json") // for bulk
	req.Host = map[bool]string{true: "kv.atoll.localhost"}[strings.HasPrefix(url, n.edge)]
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return err == nil && resp.StatusCode == 200 && (string(b) == "done" || strings.Contains(string(b), `"success":true`))
}

// value is what a key holds, "" where it holds nothing.
func (n *rawNode) value(t *testing.T, path string) string {
	t.Helper()
	req, err := http.NewRequest("GET", n.base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", n.auth)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 && resp.StatusCode != 404 {
		t.Fatalf("%s: %d %v", path, resp.StatusCode, err)
	}
	if resp.StatusCode == 404 {
		return ""
	}
	return string(b)
}

// put uploads a module to a script's path with its bindings.
func (n *rawNode) put(t *testing.T, path, code string, bindings ...map[string]string) {
	t.Helper()
	body, ctype := uploadForm(t, code, bindings)
	if status := n.do(t, "PUT", path, ctype, body, nil); status != 200 {
		t.Fatalf("%s: %d", path, status)
	}
}

func uploadForm(t *testing.T, code string, bindings []map[string]string) (body io.Reader, ctype string) {
	t.Helper()
	fields := map[string]any{"main_module": "w.mjs", "compatibility_date": "2026-01-01", "bindings": bindings}
	for _, b := range bindings {
		if class := b["class_name"]; class != "" {
			fields["migrations"] = map[string]any{"new_tag": "v1", "new_sqlite_classes": []string{class}}
		}
	}
	meta, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	w.WriteField("metadata", string(meta))
	w.WriteField("w.mjs", code)
	w.Close()
	return &b, w.FormDataContentType()
}
