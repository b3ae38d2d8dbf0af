package queue

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"atoll.dev/atoll/internal/atoll"
)

func benchStore(b *testing.B, deliver Deliver) *Store {
	b.Helper()
	s, err := Open(nil, b.TempDir(), Options{Deliver: deliver})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		<-done
		s.Close()
	})
	if _, err := s.CreateQueue(ctx, account, "jobs", DefaultSettings); err != nil {
		b.Fatal(err)
	}
	return s
}

// BenchmarkSend sends messages of 1 KB, one by one, from 16 goroutines for each processor.
func BenchmarkSend(b *testing.B) {
	s := benchStore(b, nil)
	body := make([]byte, 1000)
	b.SetParallelism(16)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := s.Send(b.Context(), account, "jobs", nil, []Outgoing{{Type: Bytes, Body: body}}); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkDeliver sends messages of 1 KB in batches of 100, and has them delivered and settled in batches of 100.
func BenchmarkDeliver(b *testing.B) {
	var got atomic.Int64
	all := make(chan struct{})
	s := benchStore(b, func(_ context.Context, _ atoll.ScriptRef, x *Batch) (Outcome, error) {
		if got.Add(int64(len(x.Messages))) == int64(b.N) {
			close(all)
		}
		return Outcome{OK: true}, nil
	})
	c := DefaultConsumer(Worker)
	c.Script, c.Batch, c.Wait = worker, 100, 0
	if _, err := s.AddConsumer(b.Context(), account, s.Queues(b.Context(), account)[0].ID, c); err != nil {
		b.Fatal(err)
	}
	body := make([]byte, 1000)
	for left := b.N; left > 0; {
		list := make([]Outgoing, min(left, MaxBatch))
		for i := range list {
			list[i] = Outgoing{Type: Bytes, Body: body}
		}
		left -= len(list)
		if _, err := s.Send(b.Context(), account, "jobs", nil, list); err != nil {
			b.Fatal(err)
		}
	}
	<-all
}

// BenchmarkSendBesideFlood is a send to one queue while another is sent batches by as many senders as a process has
// connections.
func BenchmarkSendBesideFlood(b *testing.B) {
	for _, f := range []struct {
		name           string
		senders, batch int
	}{{"none", 0, 0}, {"single", 1024, 1}, {"batches", 1024, 20}} {
		b.Run(f.name, func(b *testing.B) {
			s := benchStore(b, nil)
			if _, err := s.CreateQueue(b.Context(), account, "flooded", DefaultSettings); err != nil {
				b.Fatal(err)
			}
			one := []Outgoing{{Type: Bytes, Body: make([]byte, 1000)}}
			many := slices.Repeat(one, f.batch)
			var stop atomic.Bool
			var flood sync.WaitGroup
			var flooded atomic.Int64
			for range f.senders {
				flood.Go(func() {
					for !stop.Load() {
						if _, err := s.Send(context.Background(), account, "flooded", nil, many); err != nil {
							b.Error(err)
							return
						}
						flooded.Add(int64(len(many)))
					}
				})
			}
			var took []time.Duration
			for b.Loop() {
				began := time.Now()
				if _, err := s.Send(b.Context(), account, "jobs", nil, one); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(began))
			}
			b.ReportMetric(float64(flooded.Load())/b.Elapsed().Seconds(), "flood/s")
			stop.Store(true)
			flood.Wait()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
		})
	}
}
