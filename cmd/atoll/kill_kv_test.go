package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"strconv"
	"strings"
	"testing"
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
	rounds := killRounds()
	workerd, dir := findWorkerd(t), t.TempDir()
	n := startRaw(t, workerd, dir)
	var ns struct{ ID string }
	n.do(t, "POST", "/storage/kv/namespaces", "application/json", strings.NewReader(`{"title":"killed"}`), &ns)
	n.put(t, "/workers/scripts/writer", kvWriter, map[string]string{"type": "kv_namespace", "name": "KV", "namespace_id": ns.ID})
	if err := n.atoll(t, dir, "route", "add", "kv.atoll.localhost/*", "writer"); err != nil {
		t.Fatal(err)
	}
	values := "/storage/kv/namespaces/" + ns.ID
	ways := []way{
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
		n = n.killedAmid(t, workerd, dir, ways, acked, tried)
		for i, way := range ways {
			got := n.value(t, n.base+values+"/values/"+way.key)
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
				w, _ := strconv.Atoi(strings.TrimSuffix(n.value(t, fmt.Sprintf("%s%s/values/bulk-%d", n.base, values, j)), "."))
				if w != acked[i] && w != tried[i] {
					t.Fatalf("round %d: bulk-%d holds %d; acknowledged was %d, last sent %d", round, j, w, acked[i], tried[i])
				}
			}
			acked[i] = max(v, acked[i])
		}
	}
	t.Logf("%d rounds of writes: %v", rounds, acked)
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
