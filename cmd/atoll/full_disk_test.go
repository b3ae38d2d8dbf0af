package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// keepingObject is a Worker whose Durable Object keeps what is put into it, in the same way.
const keepingObject = `import { DurableObject } from "cloudflare:workers";
export class Keeper extends DurableObject {
	async fetch(request) {
		const key = new URL(request.url).pathname;
		if (request.method === "GET") return new Response(await this.ctx.storage.get(key));
		await this.ctx.storage.put(key, await request.text());
		await this.ctx.storage.sync();
		return new Response("done");
	}
}
export default { async fetch(request, env) {
	try { return await env.KEEPER.get(env.KEEPER.idFromName("one")).fetch(request); } catch (e) { return new Response(e.message, { status: 500 }); }
} }`

// fullDisk is a Worker with a store of each kind. GET says what its keys hold; PUT writes to them, and answers with what
// was thrown.
const fullDisk = `export default { async fetch(request, env) {
	const key = new URL(request.url).pathname.slice(1);
	if (request.method === "GET") return new Response(await env.KV.get(key));
	try { await env.KV.put(key, request.body); } catch (e) { return new Response(e.message, { status: 500 }); }
	return new Response("done");
} }`

// TestFullDisk fills the disk that a node keeps everything on. What cannot be written is refused as such and nothing else
// ends: what was acknowledged is read, Workers answer, also after a SIGKILL; and once there is room again writes go on.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=48m"); err != nil {
		t.Skip("no tmpfs can be mounted here:", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	data, workerd := filepath.Join(dir, "data"), findWorkerd(t)
	n := startRaw(t, workerd, data)
	d := &diskful{t: t, node: n, data: data, acked: map[string]string{}}
	var ns struct{ ID string }
	n.do(t, "POST", "/storage/kv/namespaces", "application/json", strings.NewReader(`{"title":"full"}`), &ns)
	d.values = "/storage/kv/namespaces/" + ns.ID + "/values/"
	d.binding = map[string]string{"type": "kv_namespace", "name": "KV", "namespace_id": ns.ID}
	n.do(t, "POST", "/r2/buckets", "application/json", strings.NewReader(`{"name":"full"}`), nil)
	var queue struct {
		ID string `json:"queue_id"`
	}
	n.do(t, "POST", "/queues", "application/json", strings.NewReader(`{"queue_name":"full"}`), &queue)
	d.queue = queue.ID
	var db struct{ UUID string }
	n.do(t, "POST", "/d1/database", "application/json", strings.NewReader(`{"name":"full"}`), &db)
	d.d1 = "/d1/database/" + db.UUID + "/query"
	n.do(t, "POST", d.d1, "application/json", strings.NewReader(`{"sql":"CREATE TABLE t (v TEXT)"}`), nil)
	n.put(t, "/workers/scripts/keeper", fullDisk, d.binding)
	n.put(t, "/workers/scripts/objects", keepingObject, map[string]string{"type": "durable_object_namespace", "name": "KEEPER", "class_name": "Keeper"})
	for host, script := range map[string]string{"kv": "keeper", "objects": "objects"} {
		if err := n.atoll(t, data, "route", "add", host+".atoll.localhost/*", script); err != nil {
			t.Fatal(err)
		}
	}
	d.write("before", 3)

	filler := filepath.Join(dir, "filler")
	fill(t, filler)
	d.refuses("first")
	d.reads()
	n.cmd.Process.Kill()
	n.cmd.Wait()
	d.node = startRaw(t, workerd, data)
	d.reads()
	fill(t, filler+"2")
	d.refuses("second")
	d.reads()

	if err := errors.Join(os.Remove(filler), os.Remove(filler+"2")); err != nil {
		t.Fatal(err)
	}
	d.write("after", 3)
	d.reads()
	d.node.put(t, "/workers/scripts/late", fullDisk+"// late", d.binding)
	d.node.cmd.Process.Kill()
	d.node.cmd.Wait()
	d.node = startRaw(t, workerd, data)
	d.reads()
	d.write("last", 1)
}

// diskful is a node, and what it has acknowledged.
type diskful struct {
	t       *testing.T
	node    *rawNode
	data    string
	values  string
	queue   string
	d1      string
	binding map[string]string
	acked   map[string]string
}

// fill writes to a file until the disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, size := range []int{1 << 20, 4096} {
		block := make([]byte, size)
		for err = nil; err == nil; {
			_, err = f.Write(block)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
}

// request makes one and returns the status and the body.
func (d *diskful) request(method, url, ctype string, body io.Reader) (int, string) {
	d.t.Helper()
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		d.t.Fatal(err)
	}
	req.Header.Set("Authorization", d.node.auth)
	req.Header.Set("Content-Type", ctype)
	if strings.HasPrefix(url, d.node.edge) {
		req.Host = "kv.atoll.localhost"
		if strings.Contains(url, "/object-") {
			req.Host = "objects.atoll.localhost"
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// write writes n values by the Worker and by the API, which must be acknowledged.
func (d *diskful) write(prefix string, n int) {
	d.t.Helper()
	for i := range n {
		for base, size := range map[string]int{d.node.edge + "/": 100, d.node.edge + "/object-": 1000, d.node.base + d.values: 20_000} {
			key := fmt.Sprintf("%s-%d-%d", prefix, size, i)
			value := key + strings.Repeat("v", size)
			if status, body := d.request("PUT", base+key, "application/octet-stream", strings.NewReader(value)); status != 200 {
				d.t.Fatalf("%s: %d %s", key, status, body)
			}
			if base == d.node.edge+"/object-" {
				key = "object-" + key
			}
			d.acked[key] = value
		}
	}
}

// reads reads all that was acknowledged, by the Worker.
func (d *diskful) reads() {
	d.t.Helper()
	for key, want := range d.acked {
		if status, got := d.request("GET", d.node.edge+"/"+key, "", nil); status != 200 || got != want {
			d.t.Errorf("%s: %d %.100q", key, status, got)
		}
	}
}

// refuses makes writes of every kind until each has been refused, for the reason that there is. A few may find room still.
func (d *diskful) refuses(prefix string) {
	d.t.Helper()
	large := strings.Repeat("x", 1<<20)
	for name, c := range map[string]struct {
		code  int
		write func(i int) (int, string)
	}{
		"kv": {10048, func(i int) (int, string) {
			key := fmt.Sprintf("%s-%d", prefix, i)
			status, body := d.request("PUT", d.node.base+d.values+key, "application/octet-stream", strings.NewReader(key+large[:100_000]))
			if status == 200 {
				d.acked[key] = key + large[:100_000]
			}
			return status, body
		}},
		"kv-large": {10048, func(i int) (int, string) {
			return d.request("PUT", d.node.base+d.values+"large", "application/octet-stream", strings.NewReader(large+large))
		}},
		"kv-by-worker": {0, func(i int) (int, string) {
			return d.request("PUT", d.node.edge+"/by-worker", "", strings.NewReader(large[:200_000]))
		}},
		"kv-namespace": {10048, func(i int) (int, string) {
			return d.request("POST", d.node.base+"/storage/kv/namespaces", "application/json", strings.NewReader(fmt.Sprintf(`{"title":"%s-%d"}`, prefix, i)))
		}},
		"script": {10013, func(i int) (int, string) {
			body, ctype := uploadForm(d.t, fmt.Sprintf("%s\n// %s %d %s", fullDisk, prefix, i, large[:50_000]), []map[string]string{d.binding})
			return d.request("PUT", d.node.base+"/workers/scripts/another", ctype, body)
		}},
		"r2": {10001, func(i int) (int, string) {
			return d.request("PUT", fmt.Sprintf("%s/r2/buckets/full/objects/%s-%d", d.node.base, prefix, i), "text/plain", strings.NewReader(fmt.Sprint(i)+large[:100_000]))
		}},
		"queue": {10013, func(i int) (int, string) {
			return d.request("POST", d.node.base+"/queues/"+d.queue+"/messages", "application/json", strings.NewReader(`{"body":"`+large[:50_000]+`"}`))
		}},
		"object": {0, func(i int) (int, string) {
			key := fmt.Sprintf("object-%s-%d", prefix, i)
			status, body := d.request("PUT", d.node.edge+"/"+key, "", strings.NewReader(key+large[:90_000]))
			if status == 200 {
				d.acked[key] = key + large[:90_000]
			}
			return status, body
		}},
		"d1": {7507, func(i int) (int, string) {
			return d.request("POST", d.node.base+d.d1, "application/json", strings.NewReader(`{"sql":"INSERT INTO t VALUES (?)","params":["`+large[:90_000]+`"]}`))
		}},
		"dispatch-namespace": {10013, func(i int) (int, string) {
			return d.request("POST", d.node.base+"/workers/dispatch/namespaces", "application/json", strings.NewReader(fmt.Sprintf(`{"name":"%s-%d"}`, prefix, i)))
		}},
	} {
		status, body := 200, ""
		i := 0
		for ; status == 200 && i < 2000; i++ {
			status, body = c.write(i)
		}
		var e struct{ Errors []struct{ Code int } }
		json.Unmarshal([]byte(body), &e)
		switch {
		case name == "object" && status == 500 && strings.Contains(body, "FULL"):
		case name == "kv-by-worker" && status == 500 && body == "KV PUT failed: 507 the disk is full":
		case c.code != 0 && status == http.StatusInsufficientStorage && len(e.Errors) == 1 && e.Errors[0].Code == c.code:
		default:
			d.t.Errorf("%s: after %d writes %d %.300s", name, i, status, body)
		}
	}
	if status, _ := d.request("GET", d.node.base[:strings.Index(d.node.base, "/client")]+"/healthz", "", nil); status != 200 {
		d.t.Errorf("health: %d", status)
	}
}
