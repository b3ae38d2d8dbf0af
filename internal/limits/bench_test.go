package limits_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"atoll.dev/atoll/internal/limits"
)

// BenchmarkOverhead compares the requests of a busy process without a limit and under one, in turns.
func BenchmarkOverhead(b *testing.B) {
	for _, limit := range []time.Duration{10 * ms, 50 * ms, 30 * time.Second} {
		b.Run(limit.String(), func(b *testing.B) {
			for _, clients := range []int{1, 8} {
				b.Run(fmt.Sprintf("clients-%d", clients), func(b *testing.B) {
					r := newRig(b, limit)
					meter := r.meter
					load := func(m *limits.Meter) time.Duration {
						r.meter = m
						var group sync.WaitGroup
						start := time.Now()
						for range clients {
							group.Go(func() {
								for range 400 / clients {
									r.want("/", 200, "hello")
								}
							})
						}
						group.Wait()
						return time.Since(start)
					}
					var ratios []float64
					load(nil)
					for b.Loop() {
						with, without := load(meter), load(nil)
						ratios = append(ratios, float64(without)/float64(with))
					}
					slices.Sort(ratios)
					b.ReportMetric(ratios[len(ratios)/2], "of-unlimited")
					b.ReportMetric(float64(r.proc.looks.Load())/float64(b.N)/400, "looks/req")
				})
			}
		})
	}
}

// BenchmarkLook is what one look at a process costs.
func BenchmarkLook(b *testing.B) {
	r := newRig(b, 0)
	for b.Loop() {
		if _, err := r.proc.CPUTime(); err != nil {
			b.Fatal(err)
		}
		if _, err := r.proc.Look(); err != nil {
			b.Fatal(err)
		}
		if _, err := r.proc.Asleep(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBegin is what an invocation pays itself.
func BenchmarkBegin(b *testing.B) {
	r := newRig(b, 10*ms)
	for b.Loop() {
		r.meter.Begin()
		r.meter.End()
	}
}
