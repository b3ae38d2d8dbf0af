package kv

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestAgainstModel does random operations with a cache too small for the keys, and compares with a map.
func TestAgainstModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	var c clock
	c.sec.Store(1_000_000)
	dir := t.TempDir()
	opts := Options{Now: c.now, CacheBytes: cacheShards * 2000}
	s := openStore(t, dir, opts)
	ids := []NamespaceID{newSpace(t, s, "one"), newSpace(t, s, "two")}
	type held struct {
		value   string
		expires int64
	}
	model := map[NamespaceID]map[string]held{ids[0]: {}, ids[1]: {}}
	for step := range 4000 {
		id, key := ids[rnd.IntN(2)], fmt.Sprint("key", rnd.IntN(60))
		switch op := rnd.IntN(100); {
		case op < 30:
			n := rnd.IntN(300)
			if rnd.IntN(200) == 0 {
				n = chunkSize - 2 + rnd.IntN(4)
			}
			h := held{value: strings.Repeat(fmt.Sprint(step), n)[:n]}
			if rnd.IntN(4) == 0 {
				h.expires = c.sec.Load() + 60 + rnd.Int64N(100)
			}
			put(t, s, id, key, h.value, PutOptions{Expires: h.expires})
			model[id][key] = h
		case op < 40:
			if err := s.Delete(t.Context(), id, Key(key)); err != nil {
				t.Fatal(err)
			}
			delete(model[id], key)
		case op < 45:
			c.sec.Add(rnd.Int64N(20))
		case op < 46:
			if err := s.sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
		case op < 47 && rnd.IntN(10) == 0:
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openStore(t, dir, opts)
		default:
			want := "<none>"
			if h, ok := model[id][key]; ok && (h.expires == 0 || h.expires > c.sec.Load()) {
				want = h.value
			}
			if got := get(t, s, id, key); got != want {
				t.Fatalf("step %d: get %s: %.40q of %d bytes, want %.40q of %d", step, key, got, len(got), want, len(want))
			}
		}
	}
}

// TestReadYourWrites has readers look for values older than what was acknowledged before they looked.
func TestReadYourWrites(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{CacheBytes: cacheShards * 600})
	id := newSpace(t, s, "one")
	const keys, rounds = 6, 150
	var acked [keys]atomic.Int64
	for k := range keys {
		put(t, s, id, fmt.Sprint(k), "0", PutOptions{})
	}
	ctx, cancel := context.WithCancel(t.Context())
	var readers, writers sync.WaitGroup
	for k := range keys {
		writers.Go(func() {
			for n := int64(1); n <= rounds; n++ {
				// Some versions are large, and leave and enter the cache.
				value := fmt.Sprint(n)
				if n%50 == 0 {
					value += strings.Repeat(" ", chunkSize)
				}
				if err := s.Put(ctx, id, Key(fmt.Sprint(k)), strings.NewReader(value), PutOptions{}); err != nil {
					t.Error(err)
				}
				acked[k].Store(n)
			}
		})
	}
	for range 4 {
		readers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				k := i % keys
				least := acked[k].Load()
				v, ok, err := s.Get(context.Background(), id, Key(fmt.Sprint(k)))
				if err != nil || !ok {
					t.Error(ok, err)
					return
				}
				b, err := v.Bytes()
				v.Close()
				n, _ := strconv.ParseInt(strings.TrimRight(string(b), " "), 10, 64)
				if err != nil || n < least {
					t.Errorf("key %d: read %d (%v) after %d was acknowledged", k, n, err, least)
					return
				}
				if i%500 == 0 {
					if err := s.sweep(ctx); err != nil && ctx.Err() == nil {
						t.Error(err)
					}
				}
			}
		})
	}
	writers.Wait()
	cancel()
	readers.Wait()
}
