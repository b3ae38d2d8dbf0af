package terminate

import (
	"encoding/binary"
	"strings"
	"testing"
)

// objects is a Worker of Durable Objects, whose events are busy for a while.
const objects = `
import { DurableObject } from "cloudflare:workers";
const busy = (ms) => { let n = 0; for (let i = 0; i < ms * 2e5; i++) n += i % 7; return n; };
export class Thing extends DurableObject {
	run(ms) { busy(ms); return "ran"; }
	async alarm() {
		busy(5);
		const left = await this.ctx.storage.get("left") - 1;
		await this.ctx.storage.put("left", left);
		if (left > 0) await this.ctx.storage.setAlarm(Date.now());
		else this.done();
	}
	async ring(n) {
		await this.ctx.storage.put("left", n);
		await this.ctx.storage.setAlarm(Date.now());
		await new Promise((resolve) => { this.done = resolve; });
		return "rang";
	}
	async turns(n) { for (let i = 0; i < n; i++) { busy(5); await scheduler.wait(1); } return "ran"; }
}
export default {
	async fetch(request, env) {
		const url = new URL(request.url), n = Number(url.searchParams.get("n")), thing = env.OBJECT.getByName("a");
		switch (url.pathname) {
		case "/run": return new Response(await thing.run(n));
		case "/turns": return new Response(await thing.turns(n));
		case "/alarms": return new Response(await thing.ring(n));
		case "/runs": for (let i = 0; i < n; i++) await thing.run(5); return new Response("ran");
		}
		return new Response("hello");
	}
}`

// events are the numbers of the events of objects that looks see until a request has been answered, in their order.
func (r *rig) events(path, answer string) (numbers []uintptr) {
	r.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.want(path, 200, answer)
	}()
	for {
		select {
		case <-done:
			return numbers
		default:
		}
		s, err := r.target.Look()
		if err != nil {
			r.Fatal(err)
		}
		if s.Event == 0 || s.Event >= 1<<32 { // not an object's, which has a place only
			continue
		}
		if again, err := r.target.Event(s.Current, s.Place); err != nil || again != s.Event && again != 0 && again < s.Event {
			r.Errorf("event %#x is told to be %#x, %v", s.Event, again, err)
		}
		if n := len(numbers); n == 0 || numbers[n-1] != s.Event {
			numbers = append(numbers, s.Event)
		}
		pause(500_000)
	}
}

func TestEvents(t *testing.T) {
	r := newRig(t, rigOptions{objects: true})
	for _, test := range []struct {
		name, path, answer string
		least, most        int
	}{
		{"one-of-many-turns", "/turns?n=20", "ran", 1, 1},
		{"one-after-the-other", "/runs?n=40", "ran", 10, 40},
		{"alarms", "/alarms?n=40", "rang", 10, 42}, // the call that sets the first, and waits for the last, is one more
	} {
		t.Run(test.name, func(t *testing.T) {
			seen := map[uintptr]int{}
			for _, n := range r.with(t).events(test.path, test.answer) {
				seen[n]++
			}
			if len(seen) < test.least || len(seen) > test.most {
				t.Errorf("%d events are told apart, want %d to %d", len(seen), test.least, test.most)
			}
		})
	}
	if r.target.numbers.at.Load() <= 0 {
		t.Error("events are not numbered")
	}
}

// An event that nobody has seen before is ended as well: the thread is stopped already when it is given its number.
func TestTerminateUnseenEvent(t *testing.T) {
	r := newRig(t, rigOptions{objects: true})
	first := r.background(1, "/run?n=200")
	var object Context
	for object == None {
		if s := r.sighting(); s.Event != 0 && s.Event < 1<<32 {
			object = s.Current
		}
	}
	first.Wait()
	r.settle()
	second := r.background(1, "/run?n=1000000")
	for outcome := Absent; outcome == Absent; {
		outcome = r.terminate(object)
	}
	if got := second.String(); strings.Contains(got, "200") {
		t.Errorf("the second was answered %s", got)
	}
	r.want("/run?n=1", 200, "ran")
}

func TestFindLocation(t *testing.T) {
	const low, high = 0x1000, 0x2000
	event := func(words map[int]uint64) []byte {
		b := make([]byte, 128)
		for at, v := range words {
			binary.NativeEndian.PutUint64(b[at:], v)
		}
		return b
	}
	where := func(line, column uint64) uint64 { return line | column<<32 }
	for _, test := range []struct {
		name  string
		words map[int]uint64
		at    int64
	}{
		{"found", map[int]uint64{64: 1, 72: 0x1100, 80: 0x1200, 88: where(42, 20)}, 64},
		{"at-the-end", map[int]uint64{96: 1, 104: 0x1100, 112: 0x1200, 120: where(42, 20)}, 96},
		{"missing", map[int]uint64{72: 0x1100, 80: 0x1200, 88: where(42, 20)}, -1},
		{"cut-off", map[int]uint64{104: 1, 112: 0x1100, 120: 0x1200}, -1},
		{"not-of-the-program", map[int]uint64{64: 1, 72: 0x2000, 80: 0x1200, 88: where(42, 20)}, -1},
		{"no-line", map[int]uint64{64: 1, 72: 0x1100, 80: 0x1200, 88: where(0, 20)}, -1},
		{"no-column", map[int]uint64{64: 1, 72: 0x1100, 80: 0x1200, 88: where(42, 1<<20)}, -1},
		{"two", map[int]uint64{32: 1, 40: 0x1100, 48: 0x1200, 56: where(1, 2), 64: 1, 72: 0x1100, 80: 0x1200, 88: where(42, 20)}, -1},
	} {
		t.Run(test.name, func(t *testing.T) {
			at, ok := findLocation(event(test.words), low, high)
			if ok != (test.at >= 0) || ok && at != test.at {
				t.Errorf("got %d, %v, want %d", at, ok, test.at)
			}
		})
	}
}
