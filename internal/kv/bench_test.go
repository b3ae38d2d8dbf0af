package kv

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func BenchmarkGet(b *testing.B) {
	for name, bytes := range map[string]int64{"memory": 0, "file": 1} {
		b.Run(name, func(b *testing.B) {
			s := openStore(b, b.TempDir(), Options{CacheBytes: bytes})
			id := newSpace(b, s, "one")
			put(b, s, id, "some/route/key", strings.Repeat("x", 500), PutOptions{})
			b.ReportAllocs()
			for b.Loop() {
				if _, ok, err := s.Get(context.Background(), id, "some/route/key"); !ok || err != nil {
					b.Fatal(ok, err)
				}
			}
		})
	}
}

// BenchmarkHandler is a get as the binding asks for it, without the server around it.
func BenchmarkHandler(b *testing.B) {
	s := openStore(b, b.TempDir(), Options{})
	id := newSpace(b, s, "one")
	put(b, s, id, "some/route/key", strings.Repeat("x", 500), PutOptions{Metadata: `{"a":1}`})
	r := httptest.NewRequest("GET", "/some%2Froute%2Fkey?urlencoded=true", nil)
	w := discard{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		s.Handler(id).ServeHTTP(w, r)
	}
}

type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

func BenchmarkPut(b *testing.B) {
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprint("writers=", writers), func(b *testing.B) {
			s := openStore(b, b.TempDir(), Options{})
			id := newSpace(b, s, "one")
			var n atomic.Int64
			b.SetParallelism(writers)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					key := Key(fmt.Sprint(n.Add(1) % 10_000))
					if err := s.Put(context.Background(), id, key, strings.NewReader("value"), PutOptions{}); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// BenchmarkPutBesideFlood is a put of one namespace while another is flooded by as many writers as a process has connections.
func BenchmarkPutBesideFlood(b *testing.B) {
	for _, f := range []struct {
		name          string
		writers, size int
	}{{"none", 0, 0}, {"small", 1024, 10}, {"large", 1024, 20_000}, {"two-processes", 2048, 10}} {
		b.Run(f.name, func(b *testing.B) {
			s := openStore(b, b.TempDir(), Options{})
			id, other := newSpace(b, s, "one"), newSpace(b, s, "flooded")
			var stop atomic.Bool
			var flood sync.WaitGroup
			var flooded atomic.Int64
			value := strings.Repeat("x", f.size)
			for i := range f.writers {
				flood.Go(func() {
					for n := 0; !stop.Load(); n++ {
						if err := s.Put(context.Background(), other, Key(fmt.Sprint(i, n%10)), strings.NewReader(value), PutOptions{}); err != nil {
							b.Error(err)
						}
						flooded.Add(1)
					}
				})
			}
			var took []time.Duration
			for b.Loop() {
				began := time.Now()
				put(b, s, id, "key", "value", PutOptions{})
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
