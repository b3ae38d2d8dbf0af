package main

import (
	"strconv"
	"strings"
	"testing"
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
	rounds := killRounds()
	workerd, dir := findWorkerd(t), t.TempDir()
	n := startRaw(t, workerd, dir)
	n.do(t, "POST", "/r2/buckets", "application/json", strings.NewReader(`{"name":"killed"}`), nil)
	n.put(t, "/workers/scripts/writer", bucketWriter, map[string]string{"type": "r2_bucket", "name": "BUCKET", "bucket_name": "killed"})
	if err := n.atoll(t, dir, "route", "add", "kv.atoll.localhost/*", "writer"); err != nil { // the host that sends asks for
		t.Fatal(err)
	}
	objects := "/r2/buckets/killed/objects/"
	sizes := []int{100, 700_000, 100_000, 50_000, 3 << 19} // of what is written besides the number
	put := func(i int, query string) func(n *rawNode, key, v string) bool {
		return func(n *rawNode, key, v string) bool {
			return n.sends("PUT", n.edge+"/"+key+query, v+strings.Repeat("x", sizes[i]))
		}
	}
	ways := []way{
		{"small", put(0, "")},
		{"large", put(1, "")},
		{"again", put(2, "?again")},
		{"parts", put(3, "?parts")},
		{"api", func(n *rawNode, key, v string) bool {
			return n.sends("PUT", n.base+objects+key, v+strings.Repeat("x", sizes[4]))
		}},
	}
	acked, tried, total := make([]int, len(ways)), make([]int, len(ways)), 0
	for round := range rounds {
		n = n.killedAmid(t, workerd, dir, ways, acked, tried)
		for i, way := range ways {
			url := n.edge + "/" + way.key
			if way.key == "api" {
				url = n.base + objects + way.key
			}
			got := n.value(t, url)
			number, rest, _ := strings.Cut(got, ".")
			v, _ := strconv.Atoi(number) // 0: none
			whole := strings.Trim(rest, "x") == "" && len(rest) == sizes[i]
			if way.key == "parts" {
				text := number + "." + strings.Repeat("x", sizes[i])
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
