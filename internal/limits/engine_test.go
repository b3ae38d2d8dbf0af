package limits_test

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A spin ends soon after its limit by the processor's clock, alone and among a hundred requests that wait.
func TestSpin(t *testing.T) {
	for _, waiting := range []int{0, 100} {
		t.Run(fmt.Sprintf("among-%d", waiting), func(t *testing.T) {
			r := newRig(t, 10*ms)
			others := r.background(waiting, "/wait?n=4000")
			var took []time.Duration
			for n := 1; n <= 200; n++ {
				start := r.cpu()
				r.want("/spin", 500, stopped)
				took = append(took, r.cpu()-start)
				if !r.meter.Claim() || r.meter.Claim() {
					t.Error("the termination could not be claimed once")
				}
				r.want("/count", 200, fmt.Sprint(n))
			}
			want := ""
			if waiting > 0 {
				want = fmt.Sprintf(`%dx "200 waited"`, waiting)
			}
			if got := others.String(); got != want {
				t.Errorf("those that waited were answered %s", got)
			}
			slices.Sort(took)
			t.Logf("ended after %v of processor time (median of %d; %v to %v, 90 of 100 below %v)", median(took), len(took), took[0], took[len(took)-1], took[len(took)*9/10])
			if m := median(took); m < 10*ms || m > 15*ms {
				t.Errorf("the median is %v", m)
			}
		})
	}
}

// Three turns with waits between count together. On a busy machine looks come late, and a Worker's time includes what the
// engine does around it, so single results near the limit prove nothing.
func TestThreeTurns(t *testing.T) {
	for _, waiting := range []int{0, 100} {
		for _, burn := range []time.Duration{9 * ms, 12 * ms} {
			t.Run(fmt.Sprintf("%dms-among-%d", burn/ms, waiting), func(t *testing.T) {
				r := newRig(t, 10*ms)
				t.Logf("%.0f rounds a millisecond, %v beside them", r.perMs, r.beside)
				others := r.background(waiting, "/wait?n=3000")
				passed, ended, wrong := 0, 0, 0
				var took []time.Duration
				for range 40 {
					start := r.cpu()
					status, body := r.get(fmt.Sprintf("/thrice?n=%d", r.rounds(burn/3)))
					used := r.cpu() - start
					took = append(took, used)
					switch {
					case status == 200 && body == "burnt":
						passed++
						if used > 125*ms/10 {
							wrong++
						}
					case status == 500 && body == stopped:
						ended++
						if used < 10*ms {
							wrong++
						}
					default:
						t.Errorf("answered %d %s", status, body)
					}
				}
				slices.Sort(took)
				t.Logf("%d passed, %d were ended, %d wrongly; they used %v (median; %v to %v)", passed, ended, wrong, median(took), took[0], took[len(took)-1])
				if right := map[bool]int{true: passed, false: ended}[burn < 10*ms]; right < 24 || wrong > 12 {
					t.Error("that is not right")
				}
				if waiting > 0 {
					if got, want := others.String(), fmt.Sprintf(`%dx "200 waited"`, waiting); got != want {
						t.Errorf("those that waited were answered %s", got)
					}
				}
			})
		}
	}
}

// What goes on after the response, in timers and in waits counts as well.
func TestAfterResponse(t *testing.T) {
	r := newRig(t, 10*ms)
	for range 5 {
		start := r.cpu()
		r.want("/after?n=20", 200, "answered")
		r.ended(1)
		if used := r.cpu() - start; used > 60*ms {
			t.Errorf("ended after %v", used)
		}
	}
	r.want("/count", 200, "1")
	if r.proc.killed.Load() {
		t.Error("the process was killed")
	}
}

// What cannot be ended dies with its process.
func TestEngineKill(t *testing.T) {
	for _, path := range []string{"/json", "/finalizer", "/interval?n=20000"} {
		name, _, _ := strings.Cut(path[1:], "?")
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 50*ms)
			a := r.background(1, path)
			select {
			case <-r.proc.Done():
			case <-time.After(30 * time.Second):
				t.Fatal("it goes on")
			}
			a.Wait()
			if !r.proc.killed.Load() {
				t.Error("it died by itself")
			}
			t.Logf("killed after %v", r.proc.ExitState().CPU)
		})
	}
}

// Thousands of small requests make garbage that takes several limits to collect, in the middle of one of them.
func TestGarbage(t *testing.T) {
	r := newRig(t, 10*ms)
	var left atomic.Int64
	left.Store(26_000) // two collections
	if testing.Short() {
		left.Store(1000)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				r.want("/", 200, "hello")
			}
		})
	}
	wg.Wait()
	if r.proc.killed.Load() {
		t.Error("the process was killed")
	}
}

// Moving a body is the engine's work, which is nobody's.
func TestBodies(t *testing.T) {
	r := newRig(t, 20*ms)
	const size = 256 << 20
	start := r.cpu()
	r.meter.Begin()
	defer r.meter.End()
	resp, err := r.client.Post("http://worker/echo", "", io.LimitReader(zeros{}, size))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != 200 || n != size || err != nil {
		t.Errorf("answered %d, %d bytes, %v", resp.StatusCode, n, err)
	}
	t.Logf("moved in %v of processor time", r.cpu()-start)
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// A thousand terminations among requests of all kinds: every one that fails is one that spun. The others use less than half
// of the limit, since the same rounds take twice the time when a neighbour is busy on the other half of a core.
func TestMixedLoad(t *testing.T) {
	spins := 1000
	if testing.Short() {
		spins = 50
	}
	r := newRig(t, 10*ms)
	var stop atomic.Bool
	var innocents sync.WaitGroup
	var answered atomic.Int64
	for _, c := range []struct{ path, want string }{
		{"/", "hello"}, {"/", "hello"}, {"/", "hello"}, {"/wait?n=20", "waited"}, {"/wait?n=300", "waited"},
		{fmt.Sprintf("/mixed?n=%d", r.rounds(ms/2)), "mixed"}, {fmt.Sprintf("/mixed?n=%d", r.rounds(ms/4)), "mixed"},
		{fmt.Sprintf("/burn?n=%d", r.rounds(3*ms)), "burnt"}, {fmt.Sprintf("/thrice?n=%d", r.rounds(ms)), "burnt"},
	} {
		innocents.Go(func() {
			for !stop.Load() {
				if status, body := r.get(c.path); status != 200 || body != c.want {
					t.Errorf("%s: answered %d %q", c.path, status, body)
				}
				answered.Add(1)
			}
		})
	}
	var hogs sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(spins))
	start := r.cpu1()
	for range 2 {
		hogs.Go(func() {
			for left.Add(-1) >= 0 {
				if status, body := r.get("/spin"); status != 500 || body != stopped {
					t.Errorf("a spin was answered %d %q", status, body)
				}
			}
		})
	}
	hogs.Wait()
	stop.Store(true)
	innocents.Wait()
	t.Logf("%d requests were answered beside %d that were ended; %v of processor time, %d looks", answered.Load(), spins, r.cpu1()-start, r.proc.looks.Load())
	if r.proc.killed.Load() {
		t.Error("the process was killed")
	}
}
