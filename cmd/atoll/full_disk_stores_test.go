package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestFullDiskKeepsStores writes to every store of a node until its disk is full, and on until each has refused a write. All
// that was acknowledged, before and meanwhile, is there then: on the full disk, after a SIGKILL, and once there is room; and
// writes go on.
func TestFullDiskKeepsStores(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64m"); err != nil {
		t.Skip("no tmpfs can be mounted here:", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	data, workerd, filler := filepath.Join(dir, "data"), findWorkerd(t), filepath.Join(dir, "filler")
	k := &kept{filled: fillStores(t, startRaw(t, workerd, data), data), values: map[string]string{}, objects: map[string]string{},
		rows: []int{1, 2}, added: []int{7}, messages: map[string]int{"one": 1, "two": 1}, secret: "hush"}
	k.deploys(0)
	k.route(data, "serving")
	k.once(1)
	k.check()

	fill(t, filler)
	next := k.refused(2)
	k.check()
	k.restart(workerd, data)
	k.check()
	fill(t, filler+"2")
	next = k.refused(next)
	k.check()

	if err := errors.Join(os.Remove(filler), os.Remove(filler+"2")); err != nil {
		t.Fatal(err)
	}
	k.check()
	k.once(next)
	k.restart(workerd, data)
	k.check()
	k.once(next + 1)
	k.asked("POST", "stores", "/cache", "", "cached")
	k.asked("POST", "stores", "/complete", k.upload, "true,backup")
	k.morePoints(data)
	k.drained()
}

// kept is a node with something in every store, and what it has acknowledged.
type kept struct {
	*filled
	values, objects map[string]string
	rows, added     []int
	messages        map[string]int
	secret, text    string
}

// padding is what makes a write one that needs room, apart for each.
func padding(i int) string { return fmt.Sprint(i, ".", strings.Repeat("x", 60_000)) }

// writes are one to each store, the i-th of their kind, and what is then to be found there.
func (k *kept) writes() map[string]func(i int) (int, string) {
	api := func(method, path, body string) (int, string) {
		return k.call(method, k.node.base+path, "application/json", strings.NewReader(body))
	}
	return map[string]func(i int) (int, string){
		"kv": func(i int) (int, string) {
			key := "full-" + strconv.Itoa(i)
			return acks(func() { k.values[key] = padding(i) })(api("PUT", k.filled.values+key, padding(i)))
		},
		"r2": func(i int) (int, string) {
			key := "full-" + strconv.Itoa(i)
			return acks(func() { k.objects[key] = padding(i) })(api("PUT", "/r2/buckets/every/objects/"+key, padding(i)))
		},
		"d1": func(i int) (int, string) {
			n := 1000 + i
			return acks(func() { k.rows = append(k.rows, n) })(api("POST", "/d1/database/"+k.database+"/query",
				fmt.Sprintf(`{"sql":"INSERT INTO t VALUES (%d), (-length('%s'))"}`, n, padding(i))))
		},
		"queue": func(i int) (int, string) {
			return acks(func() { k.messages[padding(i)]++ })(api("POST", "/queues/"+k.queue+"/messages", `{"body":"`+padding(i)+`"}`))
		},
		"secret": func(i int) (int, string) {
			v := strconv.Itoa(i) + strings.Repeat("s", 1000)
			return acks(func() { k.secret = v })(api("PATCH", k.filled.secret, `{"value":"`+v+`"}`))
		},
		"object": func(i int) (int, string) {
			req, err := http.NewRequest("GET", fmt.Sprintf("%s/o/add/%d", k.node.edge, 100+i), nil)
			if err != nil {
				k.t.Fatal(err)
			}
			req.Host = "ledger.atoll.localhost"
			return acks(func() { k.added = append(k.added, 100+i) })(k.send(req))
		},
		"script": k.deploys,
	}
}

// acks has something noted where an answer acknowledges it.
func acks(note func()) func(status int, body string) (int, string) {
	return func(status int, body string) (int, string) {
		if status == http.StatusOK {
			note()
		}
		return status, body
	}
}

// deploys makes another version of a script that serves.
func (k *kept) deploys(i int) (int, string) {
	text := strconv.Itoa(i)
	body, ctype := uploadForm(k.t, module(text)+padding(i), []map[string]string{{"type": "plain_text", "name": "TEXT", "text": text}})
	return acks(func() { k.text = text })(k.call("PUT", k.node.base+"/workers/scripts/serving", ctype, body))
}

// once writes to each store, which must be acknowledged.
func (k *kept) once(i int) {
	k.t.Helper()
	for name, write := range k.writes() {
		if status, body := write(i); status != http.StatusOK {
			k.t.Errorf("%s: %d %.200s", name, status, body)
		}
	}
	k.asked("POST", "stores", "/points", "", "written")
}

// refused writes to each store until that is refused, and says which number is to be written next.
func (k *kept) refused(i int) int {
	k.t.Helper()
	for name, write := range k.writes() {
		status, body, end := 200, "", i+3000
		for ; status == 200 && i < end; i++ {
			status, body = write(i)
		}
		full := status == http.StatusInsufficientStorage
		if name == "object" {
			full = status == http.StatusInternalServerError
		}
		if !full {
			k.t.Errorf("%s: %d %.200s", name, status, body)
		}
	}
	for n := range 3 { // what there is no room for is not stored, and nothing is thrown
		if got := k.ask("POST", "stores", fmt.Sprintf("/cache/%d", n), ""); got != "not kept" {
			k.t.Errorf("cache.put() on a full disk: %.200q", got)
		}
		k.asked("POST", "stores", "/points", "", "written")
	}
	return i
}

// check reads all that was acknowledged but messages, which can be read once.
func (k *kept) check() {
	t := k.t
	t.Helper()
	for path, want := range map[string]map[string]string{k.filled.values: k.values, "/r2/buckets/every/objects/": k.objects} {
		for key, value := range want {
			if status, got := k.call("GET", k.node.base+path+key, "", strings.NewReader("")); status != 200 || got != value {
				t.Errorf("%s%s: %d, %d bytes %.100q", path, key, status, len(got), got)
			}
		}
	}
	k.asked("GET", "stores", "/get", "", "kept,true")
	k.asked("GET", "stores", "/secret", "", k.secret)
	k.asked("GET", "serving", "/", "", k.text)
	k.asked("GET", "site", "/page.txt", "", "an asset")
	var rows []struct{ N int }
	var list, added []int
	err := errors.Join(json.Unmarshal([]byte(k.ask("POST", "stores", "/sql", "SELECT n FROM t WHERE n > 0")), &rows),
		json.Unmarshal([]byte(k.ask("GET", "ledger", "/o/list/0", "")), &added))
	if err != nil {
		t.Error(err)
	}
	for _, r := range rows {
		list = append(list, r.N)
	}
	for name, c := range map[string]struct{ got, want []int }{"d1": {list, k.rows}, "object": {added, k.added}} {
		has := map[int]bool{}
		for _, n := range c.got {
			has[n] = true
		}
		for _, n := range c.want {
			if !has[n] {
				t.Errorf("%s: %d was acknowledged and is not there", name, n)
			}
		}
	}
}

func (k *kept) restart(workerd, data string) {
	k.t.Helper()
	k.node.cmd.Process.Kill()
	k.node.cmd.Wait()
	k.node = startRaw(k.t, workerd, data)
}

// morePoints sees that points are written again, and that those of before are there.
func (k *kept) morePoints(data string) {
	k.t.Helper()
	before := k.countPoints(data)
	if before < 3 {
		k.t.Errorf("%d points are left", before)
	}
	k.asked("POST", "stores", "/points", "", "written")
	k.waitPoints(data, before+3)
}

// drained takes all messages, which are those that were acknowledged.
func (k *kept) drained() {
	k.t.Helper()
	path := "/queues/" + k.queue
	k.made(path+"/consumers", `{"type":"http_pull"}`, nil)
	want := len(k.messages)
	for {
		var pulled struct{ Messages []struct{ Body string } }
		k.made(path+"/messages/pull", `{"batch_size":100,"visibility_timeout_ms":600000}`, &pulled)
		if len(pulled.Messages) == 0 {
			break
		}
		for _, m := range pulled.Messages {
			var text string
			b, err := base64.StdEncoding.DecodeString(m.Body)
			if err == nil {
				err = json.Unmarshal(b, &text)
			}
			if err != nil {
				k.t.Error(err)
			}
			delete(k.messages, text)
		}
	}
	if len(k.messages) > 0 {
		k.t.Errorf("%d of %d messages are lost", len(k.messages), want)
	}
}
