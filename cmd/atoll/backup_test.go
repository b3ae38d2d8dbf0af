package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestBackup takes backups of a node that is written to in every store, starts a node on each, and finds there all that was
// acknowledged before, whole.
func TestBackup(t *testing.T) {
	workerd, dir := findWorkerd(t), t.TempDir()
	data := filepath.Join(dir, "data")
	n := startRaw(t, workerd, data)
	d := &diskful{t: t, node: n, data: data, acked: map[string]string{}}
	var ns struct{ ID string }
	n.do(t, "POST", "/storage/kv/namespaces", "application/json", strings.NewReader(`{"title":"kept"}`), &ns)
	d.values = "/storage/kv/namespaces/" + ns.ID + "/values/"
	n.do(t, "POST", "/r2/buckets", "application/json", strings.NewReader(`{"name":"kept"}`), nil)
	var db struct{ UUID string }
	n.do(t, "POST", "/d1/database", "application/json", strings.NewReader(`{"name":"kept"}`), &db)
	d1 := "/d1/database/" + db.UUID + "/query"
	n.do(t, "POST", d1, "application/json", strings.NewReader(`{"sql":"CREATE TABLE t (n INTEGER)"}`), nil)
	n.put(t, "/workers/scripts/keeper", fullDisk, map[string]string{"type": "kv_namespace", "name": "KV", "namespace_id": ns.ID},
		map[string]string{"type": "secret_text", "name": "SECRET", "text": "hush"})
	n.put(t, "/workers/scripts/objects", keepingObject, map[string]string{"type": "durable_object_namespace", "name": "KEEPER", "class_name": "Keeper"})
	for host, script := range map[string]string{"kv": "keeper", "objects": "objects"} {
		if err := n.atoll(t, data, "route", "add", host+".atoll.localhost/*", script); err != nil {
			t.Fatal(err)
		}
	}
	d.write("first", 2)

	// Each counts in a store of its own, as fast as it is answered.
	large := strings.Repeat("x", 100_000)
	writes := map[string]func(i int) (int, string){
		"kv": func(i int) (int, string) {
			return d.request("PUT", n.base+d.values+"count", "", strings.NewReader(strconv.Itoa(i)))
		},
		"object": func(i int) (int, string) {
			return d.request("PUT", n.edge+"/object-count", "", strings.NewReader(strconv.Itoa(i)))
		},
		"d1": func(i int) (int, string) {
			return d.request("POST", n.base+d1, "application/json", strings.NewReader(fmt.Sprintf(`{"sql":"INSERT INTO t VALUES (%d)"}`, i)))
		},
		"r2": func(i int) (int, string) { // each put has the file of the one before removed
			return d.request("PUT", n.base+"/r2/buckets/kept/objects/count", "", strings.NewReader(fmt.Sprint(i)+large))
		},
		"script": func(i int) (int, string) {
			body, ctype := uploadForm(t, fmt.Sprintf("export default { fetch() {} } // %d", i%20), []map[string]string{{"type": "plain_text", "name": "N", "text": strconv.Itoa(i)}})
			return d.request("PUT", n.base+"/workers/scripts/counting", ctype, body)
		},
	}
	var stop atomic.Bool
	var group sync.WaitGroup
	counts := map[string]*atomic.Int64{}
	for name, write := range writes {
		counts[name] = &atomic.Int64{}
		group.Go(func() {
			for i := 1; !stop.Load(); i++ {
				if status, body := write(i); status != 200 {
					t.Errorf("%s: %d %.200s", name, status, body)
					return
				}
				counts[name].Store(int64(i))
			}
		})
	}
	for name, c := range counts {
		for c.Load() < 3 && !t.Failed() {
			d.request("GET", n.edge+"/"+name, "", nil)
		}
	}
	for round := range 3 {
		least := map[string]int64{}
		for name, c := range counts {
			least[name] = c.Load()
		}
		to := filepath.Join(dir, fmt.Sprint("backup-", round))
		if _, err := backUp(data, to); err != nil {
			t.Fatal(err)
		}
		most := map[string]int64{}
		for name, c := range counts {
			most[name] = c.Load() + 1
		}
		holds(t, startRaw(t, workerd, to), d, d1, least, most)
	}
	stop.Store(true)
	group.Wait()

	n.cmd.Process.Kill()
	n.cmd.Wait()
	to, last := filepath.Join(dir, "cold"), map[string]int64{}
	for name, c := range counts {
		last[name] = c.Load()
	}
	if _, err := backUp(data, to); err != nil {
		t.Fatal(err)
	}
	if _, err := backUp(data, to); err == nil {
		t.Error("a backup over another one")
	}
	if _, err := backUp(data, filepath.Join(data, "backup")); err == nil {
		t.Error("a backup into the data directory itself")
	}
	if info, err := os.Stat(to); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the backup is open to others: %v %v", info.Mode(), err)
	}
	holds(t, startRaw(t, workerd, to), d, d1, last, last)
}

// backUp runs the command, and returns what it has written to standard output.
func backUp(data, to string, flags ...string) ([]byte, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	parent, name := filepath.Split(data) // by a relative path, as on most command lines
	cmd := &exec.Cmd{Path: self, Args: append([]string{"atoll", "backup", "--data", name, to}, flags...), Dir: parent}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, stderr.Bytes())
	}
	return out, nil
}

// holds checks that a node holds what was written before it was made, and counts that were reached meanwhile.
func holds(t *testing.T, n *rawNode, d *diskful, d1 string, least, most map[string]int64) {
	t.Helper()
	copied := &diskful{t: t, node: n, values: d.values, acked: d.acked}
	copied.reads()
	got := map[string]string{}
	_, got["kv"] = copied.request("GET", n.base+d.values+"count", "", nil)
	_, got["object"] = copied.request("GET", n.edge+"/object-count", "", nil)
	var rows []struct{ Results []struct{ N, C int64 } }
	n.do(t, "POST", d1, "application/json", strings.NewReader(`{"sql":"SELECT max(n) AS n, count(*) AS c FROM t"}`), &rows)
	if len(rows) == 1 && len(rows[0].Results) == 1 && rows[0].Results[0].N == rows[0].Results[0].C {
		got["d1"] = fmt.Sprint(rows[0].Results[0].N)
	}
	status, object := copied.request("GET", n.base+"/r2/buckets/kept/objects/count", "", nil)
	if status == http.StatusOK && strings.Count(object, "x") == 100_000 {
		got["r2"] = strings.TrimRight(object, "x")
	}
	var bindings []struct{ Text string }
	n.do(t, "GET", "/workers/scripts/counting/bindings", "", nil, &bindings)
	if len(bindings) == 1 {
		got["script"] = bindings[0].Text
	}
	if status, body := copied.request("GET", n.base+"/workers/scripts/counting/content", "", nil); status != 200 || !strings.Contains(body, "export default") {
		t.Errorf("the script's content: %d %.100q", status, body)
	}
	for name := range least {
		if v, err := strconv.ParseInt(got[name], 10, 64); err != nil || v < least[name] || v > most[name] {
			t.Errorf("%s holds %.50q, between %d and %d were written", name, got[name], least[name], most[name])
		}
	}
	t.Logf("%v of %v", got, most)
	n.cmd.Process.Kill()
	n.cmd.Wait()
}
