package queue

import (
	"context"
	"sync/atomic"
	"testing"

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
