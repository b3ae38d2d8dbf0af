package kv

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
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
