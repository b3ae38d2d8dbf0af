package terminate

import (
	"testing"
	"time"

	"atoll.dev/atoll/internal/workerd/workerdtest"
)

func BenchmarkLoad(b *testing.B) {
	path := workerdtest.Binary(b).Path
	for b.Loop() {
		if _, err := Load(path); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCurrent is what one look at a process costs, while it is idle and while it runs a request.
func BenchmarkCurrent(b *testing.B) {
	r := newRig(b, rigOptions{})
	look := func(b *testing.B) {
		for b.Loop() {
			if _, err := r.target.Current(); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("idle", look)
	a := r.background(1, "/loop")
	c := r.busy()
	b.Run("busy", look)
	r.terminate(c)
	a.Wait()
}

// BenchmarkTerminate is the time from the decision to the request's end, and in stop the part in which the process does
// not run by itself.
func BenchmarkTerminate(b *testing.B) {
	r := newRig(b, rigOptions{})
	var took time.Duration
	for b.Loop() {
		a := r.background(1, "/loop")
		c := r.busy()
		start := time.Now()
		if got := r.terminate(c); got != Terminated {
			b.Fatal(got)
		}
		took += time.Since(start)
		a.Wait()
	}
	b.ReportMetric(float64(took.Microseconds())/float64(b.N), "µs/termination")
}

// BenchmarkAbsent is a stop that finds another request, or none, and touches nothing.
func BenchmarkAbsent(b *testing.B) {
	r := newRig(b, rigOptions{})
	for b.Loop() {
		if got := r.terminate(1); got != Absent {
			b.Fatal(got)
		}
	}
}
