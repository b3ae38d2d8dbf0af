package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// bucketWriter is a Worker that puts, deletes, and uploads in two parts of 5 MiB and a rest. GET answers with what an object
// holds, and fails where its metadata is not that of its content.
const bucketWriter = `export default { async fetch(request, env) {
	const url = new URL(request.url), key = url.pathname.slice(1), text = await request.text();
	const options = { customMetadata: { first: text.slice(0, 20) } };
	if (request.method === "GET") {
		const o = await env.BUCKET.get(key);
		if (!o) return new Response(null, { status: 404 });
		const body = await o.text();
		if (body.length !== o.size || o.customMetadata.first !== body.slice(0, 20)) return new Response("of two writes", { status: 500 });
		return new Response(body);
	}
	if (url.searchParams.has("again")) await env.BUCKET.delete(key);
	if (!url.searchParams.has("parts")) await env.BUCKET.put(key, text, options);
	else {
		const half = "p".repeat(5 << 20), upload = await env.BUCKET.createMultipartUpload(key, options);
		await upload.complete([await upload.uploadPart(1, text + half.slice(text.length)), await upload.uploadPart(2, text)]);
	}
	return new Response("done");
} }`

// TestKillDuringR2 kills the node with SIGKILL amid writes to R2, by a Worker and by the API: of small objects, which the
// database holds, and of large ones, which are files, over and over, in parts and after a delete. Afterwards every object is
// what was last acknowledged, or what was in flight, whole and with its own metadata. KILL_ROUNDS sets how often.
func TestKillDuringR2(t *testing.T) {
	rounds := 5
	if n, err := strconv.Atoi(os.Getenv("KILL_ROUNDS")); err == nil {
		rounds = n
	}
	workerd, dir := findWorkerd(t), t.TempDir()
	n := startRaw(t, workerd, dir)
	n.do(t, "POST", "/r2/buckets", "application/json", strings.NewReader(`{"name":"killed"}`), nil)
	n.put(t, "/workers/scripts/writer", bucketWriter, map[string]string{"type": "r2_bucket", "name": "BUCKET", "bucket_name": "killed"})
	if err := n.atoll(t, dir, "route", "add", "kv.atoll.localhost/*", "writer"); err != nil { // the host that sends asks for
		t.Fatal(err)
	}
	objects := "/r2/buckets/killed/objects/"
	ways := []struct {
		key   string
		size  int // of what is written besides the number
		write func(n *rawNode, key, v string) bool
	}{
		{"small", 100, func(n *rawNode, key, v string) bool { return n.sends("PUT", n.edge+"/"+key, v) }},
		{"large", 700_000, func(n *rawNode, key, v string) bool { return n.sends("PUT", n.edge+"/"+key, v) }},
		{"again", 100_000, func(n *rawNode, key, v string) bool { return n.sends("PUT", n.edge+"/"+key+"?again", v) }},
		{"parts", 50_000, func(n *rawNode, key, v string) bool { return n.sends("PUT", n.edge+"/"+key+"?parts", v) }},
		{"api", 3 << 19, func(n *rawNode, key, v string) bool { return n.sends("PUT", n.base+objects+key, v) }},
	}
	acked, tried, total := make([]int, len(ways)), make([]int, len(ways)), 0
	for round := range rounds {
		killer := time.AfterFunc(time.Duration(100+rand.IntN(800))*time.Millisecond, func() { n.cmd.Process.Kill() })
		var group sync.WaitGroup
		for i, way := range ways {
			group.Go(func() {
				for {
					tried[i]++
					if !way.write(n, way.key, fmt.Sprintf("%d.", tried[i])+strings.Repeat("x", way.size)) {
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
			got := n.object(t, way.key, objects)
			number, rest, _ := strings.Cut(got, ".")
			v, _ := strconv.Atoi(number) // 0: none
			whole := strings.Trim(rest, "x") == "" && len(rest) == way.size
			if way.key == "parts" {
				text := number + "." + strings.Repeat("x", way.size)
				whole = len(got) == 5<<20+len(text) && strings.HasPrefix(got, text+"p") && strings.HasSuffix(got, "p"+text)
			}
			// Where nothing was acknowledged there may be nothing, and a delete in flight may be all that was done of a write.
			none := got == "" && (acked[i] == 0 || way.key == "again")
			if !none && (!whole || v != acked[i] && v != tried[i]) {
				t.Fatalf("round %d: %s holds %.20q (%d bytes); acknowledged was %d, last sent %d", round, way.key, got, len(got), acked[i], tried[i])
			}
			acked[i] = max(v, acked[i])
		}
	}
	for _, a := range acked {
		total += a
	}
	t.Logf("%d rounds; the last writes: %v", rounds, acked)
	if total < rounds {
		t.Errorf("only %d writes were acknowledged", total)
	}
}

// object is what an object of R2 holds, "" where there is none: by the Worker, or, for what was written by it, by the API.
func (n *rawNode) object(t *testing.T, key, api string) string {
	t.Helper()
	url := n.edge + "/" + key
	if key == "api" {
		url = n.base + api + key
	}
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", n.auth)
	req.Host = map[bool]string{true: "kv.atoll.localhost"}[key != "api"]
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 && resp.StatusCode != 404 {
		t.Fatalf("%s: %d %v %.100q", key, resp.StatusCode, err, b)
	}
	if resp.StatusCode == 404 {
		return ""
	}
	return string(b)
}
