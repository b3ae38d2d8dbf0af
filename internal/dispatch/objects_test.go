package dispatch_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/dispatch"
	"atoll.dev/atoll/internal/hop"
	"atoll.dev/atoll/internal/invocation"
)

// bell has an object that calls an origin when its alarm rings.
const bell = `import { DurableObject } from "cloudflare:workers";
export class Bell extends DurableObject {
	async set(ms, url) { ` + id + ` await this.ctx.storage.put("url", url); await this.ctx.storage.setAlarm(Date.now() + ms); return id; }
	async alarm() { const r = await fetch(await this.ctx.storage.get("url")); await r.text(); }
	async call(url) { return (await fetch(url)).text(); }
}
export default { async fetch(request, env) {
	` + id + `
	const url = new URL(request.url), stub = env.BELL.getByName("bell"), to = url.searchParams.get("url");
	if (url.pathname === "/set") return new Response(await stub.set(Number(url.searchParams.get("ms")), to));
	if (url.pathname === "/call") return new Response(await stub.call(to));
	return new Response(id);
} };`

// putBell deploys bell.
func (r *rig) putBell(ref atoll.ScriptRef) {
	r.t.Helper()
	r.mu.Lock()
	r.classes[ref] = []atoll.Class{{ID: atoll.NewID(), Name: "Bell", SQLite: true}}
	r.mu.Unlock()
	r.put(ref, bell, func(v *atoll.Version) {
		v.Bindings = []atoll.Binding{{Name: "BELL", Type: "durable_object_namespace", Fields: json.RawMessage(`{"class_name":"Bell"}`)}}
	})
}

func await[T any](t *testing.T, what string, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(20 * time.Second):
		t.Fatalf("waited in vain for %s", what)
	}
	return v
}

// A process is stopped though an alarm is set, and started again when it rings; one that is about to ring keeps it.
func TestAlarmsWake(t *testing.T) {
	r := newRig(t, dispatch.Options{IdleAfter: time.Second})
	rang := make(chan string, 10)
	url := r.origin(func(w http.ResponseWriter, q *http.Request) { rang <- q.URL.Path })
	r.putBell(user("alice"))
	first := r.get(user("alice"), "/set?ms=6000&url="+url+"/late")
	if len(first) < 5 || strings.HasPrefix(first, "error") {
		t.Fatal(first)
	}
	stopped := time.NewTicker(50 * time.Millisecond)
	defer stopped.Stop()
	for end := time.Now().Add(5 * time.Second); r.Processes() > 0; <-stopped.C {
		if time.Now().After(end) {
			t.Fatal("the process was not stopped before the alarm")
		}
	}
	if path := await(t, "the alarm", rang); path != "/late" {
		t.Errorf("rang %s", path)
	}
	if second := r.get(user("alice"), "/"); second == first {
		t.Error("the process is the same")
	}
}

// A script with objects has one process, whatever its calls ask for.
func TestObjectsHaveOneProcess(t *testing.T) {
	r := newRig(t, dispatch.Options{})
	r.putBell(user("alice"))
	get := func(limits invocation.Limits) string {
		t.Helper()
		reply, err := r.Do(t.Context(), dispatch.Call{Script: user("alice"), Request: &hop.Request{Method: "GET", Target: "/", Host: "a"}, Proto: "http", Limits: limits})
		if err != nil {
			t.Fatal(err)
		}
		defer reply.Close()
		b, err := io.ReadAll(reply.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	first := get(invocation.Limits{})
	for _, cpu := range []time.Duration{5 * time.Second, 50 * time.Millisecond, time.Second, 0} {
		if id := get(invocation.Limits{CPU: cpu}); id != first {
			t.Errorf("with a limit of %v: process %s, not %s", cpu, id, first)
		}
	}
	if n := r.Processes(); n != 1 {
		t.Errorf("%d processes", n)
	}
}

// What objects send out goes by the outbound Worker of their script: in calls, and in alarms of a process that no call has
// started. Another outbound Worker gets another process.
func TestObjectsOutbound(t *testing.T) {
	r := newRig(t, dispatch.Options{IdleAfter: time.Second})
	for _, name := range []string{"guard", "other"} {
		r.put(platform(name), `export default { async fetch(request, env) {
			const via = "`+name+` " + env.customer + " " + new URL(request.url).pathname;
			await fetch(env.spy + "?" + encodeURIComponent(via));
			return new Response(via);
		} };`)
	}
	seen := make(chan string, 10)
	spy := r.origin(func(w http.ResponseWriter, q *http.Request) {
		select {
		case seen <- q.URL.RawQuery:
		default: // nobody waits for it
		}
	})
	r.putBell(user("alice"))
	call := func(worker, customer, target string) string {
		t.Helper()
		out := &invocation.Outbound{Worker: platform(worker), Params: map[string]json.RawMessage{"customer": json.RawMessage(`"` + customer + `"`), "spy": json.RawMessage(`"` + spy + `"`)}}
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		reply, err := r.Do(ctx, dispatch.Call{Script: user("alice"), Request: &hop.Request{Method: "GET", Target: target, Host: "a"}, Proto: "http", Outbound: out})
		if err != nil {
			return err.Error()
		}
		defer reply.Close()
		b, err := io.ReadAll(reply.Body)
		if err != nil {
			t.Error(err)
		}
		return string(b)
	}
	if got := call("guard", "a", "/call?url=http://example.com/in-a-call"); got != "guard a /in-a-call" {
		t.Errorf("in a call: %q", got)
	}
	await(t, "the first outbound Worker", seen)
	first := call("guard", "b", "/set?ms=5000&url=http://example.com/in-an-alarm")
	if got := await(t, "the alarm", seen); got != "guard%20b%20%2Fin-an-alarm" && got != "guard%20a%20%2Fin-an-alarm" {
		t.Errorf("in an alarm: %s", got)
	}
	if second := call("other", "c", "/"); second == first || len(second) < 5 {
		t.Errorf("another outbound Worker: process %s, and %s before", second, first)
	}
	if got := call("other", "c", "/call?url=http://example.com/x"); got != "other c /x" {
		t.Errorf("by another outbound Worker: %q", got)
	}
}

// While a script is suspended nobody starts its process, for calls or alarms; what was called meanwhile is answered afterwards.
func TestSuspend(t *testing.T) {
	r := newRig(t, dispatch.Options{})
	r.putBell(user("alice"))
	resume, err := r.Suspend(t.Context(), user("alice")) // which nobody has called yet
	if err != nil {
		t.Fatal(err)
	}
	resume()
	first := r.get(user("alice"), "/")
	if resume, err = r.Suspend(t.Context(), user("alice")); err != nil {
		t.Fatal(err)
	}
	if n := r.Processes(); n != 0 {
		t.Errorf("%d processes", n)
	}
	impatient, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := r.Suspend(impatient, user("alice")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second suspension: %v", err)
	}
	if err := r.Wake(impatient, user("alice")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an alarm: %v", err)
	}
	answered := make(chan string, 1)
	go func() { answered <- r.get(user("alice"), "/") }()
	select {
	case got := <-answered:
		t.Errorf("a call was answered: %s", got)
	case <-time.After(300 * time.Millisecond):
	}
	r.Publish(user("alice"))
	resume()
	if got := await(t, "the call", answered); got == first || strings.HasPrefix(got, "error") || len(got) < 5 {
		t.Errorf("after %s answered %s", first, got)
	}
}
