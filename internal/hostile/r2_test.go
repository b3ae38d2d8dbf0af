package hostile_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// furnishR2 makes a bucket for alice and one for mallory.
func (s *site) furnishR2(t *testing.T) {
	t.Helper()
	for _, name := range []string{"alice-bucket", "mallory-bucket"} {
		s.call(t, "POST", s.acct()+"/r2/buckets", map[string]string{"name": name}, nil)
	}
	s.put(t, s.script("alice-r2"), upload{files: []string{"alice-r2.js"}, binds: []map[string]any{{"type": "r2_bucket", "name": "BUCKET", "bucket_name": "alice-bucket"}}})
	s.aliceUp = strings.TrimPrefix(s.get(t, "alice-r2", "/", ""), "200 ")
}

// r2Attacks misuse a bucket, their own and that of alice, whose name, keys and upload's id they know.
func r2Attacks(s *site) []attack {
	own := []map[string]any{{"type": "r2_bucket", "name": "BUCKET", "bucket_name": "mallory-bucket"}}
	return []attack{
		{name: "bucket-of-another", cpuMs: 2000, binds: own, run: reachBucket(`^200 \[\]$`), code: fmt.Sprintf("const id = %q;\n", s.aliceUp) + handler(`const got = [];
			const keys = ["alice-key", "../alice-bucket/alice-key", "/alice-bucket/alice-key", "alice-bucket/alice-key", "../../r2/alice-bucket/alice-key", "alice-key\0", "..", "%2e%2e%2falice-bucket%2falice-key",
				"alice-key\r\natoll-service: binding/1", "' OR 1=1 --", "%", "http://r2/alice-bucket/alice-key"];
			for (const key of keys) {
				for (const read of [() => env.BUCKET.get(key), () => env.BUCKET.head(key)]) try { if ((await read()) !== null) got.push(key); } catch {}
				try { await env.BUCKET.delete(key); } catch {}
				for (const upload of [env.BUCKET.resumeMultipartUpload(key, id), env.BUCKET.resumeMultipartUpload("alice-upload", id), env.BUCKET.resumeMultipartUpload("../alice-bucket/alice-upload", id)]) {
					try { await upload.uploadPart(1, "mallory's"); got.push("part " + key); } catch {}
					try { await upload.complete([{ partNumber: 1, etag: "x" }]); got.push("complete " + key); } catch {}
					try { await upload.abort(); got.push("abort " + key); } catch {}
				}
			}
			for (const list of [{}, { prefix: "alice" }, { prefix: "../" }, { startAfter: "a" }, { cursor: btoa("../alice-bucket") }, { cursor: "alice-key" }]) try { for (const o of (await env.BUCKET.list(list)).objects) got.push(o.key); } catch {}
			return Response.json(got);`)},
		{name: "forged-requests", cpuMs: 2000, run: reachBucket(`^200 \[\]$`), code: handler(`const got = [];
			const ask = JSON.stringify({ version: 1, method: "get", object: "alice-key" });
			for (const url of ["http://fake-host/", "https://fake-host/alice-bucket", "http://atoll/", "http://127.0.0.1/", "http://localhost/s3/alice-bucket/alice-key"]) for (const service of ["binding/0", "binding/1", "r2", "egress"])
				try { const r = await fetch(url, { headers: { "cf-r2-request": ask, "cf-r2-metadata-size": "2", "atoll-service": service, "atoll-invocation": "x" } }); if ((await r.text()).includes("alice")) got.push(url + service); } catch {}
			for (const b of [env.BUCKET, env.R2, env["binding/0"]]) if (b) got.push("binding");
			return Response.json(got);`)},
		{name: "metadata", cpuMs: 5000, binds: own, want: `^200 \[\]$`, code: handler(`const got = [];
			const many = Object.fromEntries(Array.from({ length: 1e4 }, (_, i) => ["k" + i, "v"]));
			for (const options of [{ customMetadata: { a: "x".repeat(9000) } }, { customMetadata: { a: "x".repeat(3e5) } }, { customMetadata: many }, { httpMetadata: { contentType: "x".repeat(1e5) } }, { httpMetadata: { contentDisposition: "x".repeat(3e5) } }])
				for (const use of [() => env.BUCKET.put("bomb", "x", options), () => env.BUCKET.createMultipartUpload("bomb", options)]) try { await use(); got.push("let through"); } catch {}
			for (const key of ["k".repeat(1025), "k".repeat(3e5), "é".repeat(600)]) for (const use of [() => env.BUCKET.put(key, "x"), () => env.BUCKET.get(key), () => env.BUCKET.delete(key)]) try { await use(); got.push("key"); } catch {}
			for (const use of [() => env.BUCKET.delete(Array(2000).fill("k")), () => env.BUCKET.list({ prefix: "k".repeat(1e5) })]) try { await use(); got.push("many"); } catch {}
			return Response.json(got);`)},
		{name: "large-lists", cpuMs: 20000, binds: own, want: `^200 300 in [2-9]\d* pages$`, code: handler(`
			const value = "\u0001".repeat(2000), put = (i) => env.BUCKET.put("list/" + String(i).padStart(3, "0") + "\u0001".repeat(900), "", { customMetadata: { a: value, b: value } });
			for (let i = 0; i < 300; i += 50) await Promise.all(Array.from({ length: 50 }, (_, j) => put(i + j)));
			let n = 0, pages = 0;
			for (let cursor; pages < 300; ) { const p = await env.BUCKET.list({ prefix: "list/", cursor, include: ["customMetadata"] }); n += p.objects.length; pages++; if (!p.truncated) break; cursor = p.cursor; }
			return new Response(n + " in " + pages + " pages");`)},
		{name: "open-uploads", cpuMs: 20000, binds: own, run: openUploads, code: handler(`
			const made = await Promise.allSettled(Array.from({ length: 1000 }, (_, i) => env.BUCKET.createMultipartUpload("open/" + i)));
			const refused = made.filter((m) => m.status === "rejected").map((m) => m.reason.message);
			return new Response(refused.length + " " + (refused[0] ?? ""));`)},
		{name: "endless-objects", cpuMs: 10000, binds: own, run: endlessObjects, code: handler(`
			const endless = () => { const { readable, writable } = new FixedLengthStream(1e9); const w = writable.getWriter(); w.write(new Uint8Array(1e5)).then(() => scheduler.wait(1e6)).catch(() => {}); return readable; };
			await Promise.race([Promise.allSettled(Array.from({ length: 300 }, (_, i) => env.BUCKET.put("endless/" + i, endless()))), scheduler.wait(2000)]);
			return new Response("done");`)},
	}
}

// reachBucket checks an answer, and that alice's bucket is as it was.
func reachBucket(want string) func(*testing.T, *site, string) {
	return func(t *testing.T, s *site, host string) {
		s.want(t, host, "/", attack{cpuMs: 2000}.limits(), want)
		var list []struct {
			Key  string
			Size int
		}
		s.call(t, "GET", s.acct()+"/r2/buckets/alice-bucket/objects", nil, &list)
		if len(list) != 1 || list[0].Key != "alice-key" || list[0].Size != len("alice's object") {
			t.Errorf("alice's bucket holds %+v", list)
		}
	}
}

// openUploads opens multipart uploads up to the bound of a bucket and past it. Its owner can still write, and everybody else.
func openUploads(t *testing.T, s *site, host string) {
	refused := ""
	for range 12 {
		refused = s.get(t, host, "/", attack{cpuMs: 20000}.limits())
		if !strings.HasPrefix(refused, "200 ") {
			t.Fatalf("got %.200q", refused)
		}
	}
	if !strings.HasPrefix(refused, "200 1000 ") || !strings.Contains(refused, "(10058)") {
		t.Errorf("after 11,000 uploads one more thousand was answered with %.200q", refused)
	}
	req, _ := json.Marshal("still there")
	if message := s.tell(t, "PUT", s.acct()+"/r2/buckets/mallory-bucket/objects/k", "text/plain", req, nil); message != "" {
		t.Error(message)
	}
}

// endlessObjects begins hundreds of objects that never end: they are gone when the Worker is done, with what they had brought.
func endlessObjects(t *testing.T, s *site, host string) {
	before, heap := openFiles(), heapInUse()
	if got := s.get(t, host, "/", attack{cpuMs: 10000}.limits()); !strings.HasPrefix(got, "200 done") && !strings.HasPrefix(got, "500 ") {
		t.Errorf("got %.200q", got)
	}
	if held := openFiles() - before; held > 1024+200 {
		t.Errorf("it held %d of the node's open files", held)
	}
	if held := int64(heapInUse()) - int64(heap); held > 256<<20 {
		t.Errorf("it held %d MiB of the node's memory", held>>20)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for {
		left, err := filepath.Glob(filepath.Join(s.data, "r2/objects/*/*"))
		if err != nil {
			t.Fatal(err)
		}
		if len(left) == 0 {
			break
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%d files are left", len(left))
		}
	}
	var list []struct{ Key string }
	s.call(t, "GET", s.acct()+"/r2/buckets/mallory-bucket/objects?prefix=endless", nil, &list)
	if len(list) > 0 {
		t.Errorf("there is %+v", list)
	}
}
