package kv

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"atoll.dev/atoll/internal/durable/killtest"
)

// TestMain lets the test binary be the process that TestKill kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv("KV_TEST_WRITE"); dir != "" {
		if err := writeForever(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// writeForever writes from several goroutines and says "key n" on its standard output for each acknowledged write.
func writeForever(dir string) error {
	s, err := Open(nil, dir, Options{SweepEvery: time.Millisecond})
	if err != nil {
		return err
	}
	go s.Run(context.Background())
	list, _, err := s.Namespaces(context.Background(), account, NamespaceOrder{Page: 1, PerPage: 1})
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for k := range 8 {
		wg.Go(func() {
			key := Key(strconv.Itoa(k))
			v, _, err := s.Get(context.Background(), list[0].ID, key)
			b, _ := v.Bytes()
			v.Close()
			n, _ := strconv.Atoi(strings.TrimRight(string(b), " "))
			for err == nil {
				n++
				value := strconv.Itoa(n)
				if k == 0 {
					value += strings.Repeat(" ", chunkSize+n)
				}
				if err = s.Put(context.Background(), list[0].ID, key, strings.NewReader(value), PutOptions{}); err == nil {
					mu.Lock()
					fmt.Println(k, n)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return fmt.Errorf("stopped writing")
}

// TestKill kills a process that writes, again and again, and finds every acknowledged write there and no torn value.
// KV_TEST_KILLS sets how often.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, Options{})
	id := newSpace(t, s, "one")
	s.Close()
	acked := map[string]int{}
	for range killtest.Rounds("KV_TEST_KILLS") {
		killWriter(t, dir, acked)
		s := openStore(t, dir, Options{})
		for key, least := range acked {
			got := get(t, s, id, key)
			n, err := strconv.Atoi(strings.TrimRight(got, " "))
			if err != nil || n < least || n > least+1 {
				t.Errorf("key %s holds %.20q, %d was acknowledged", key, got, least)
			}
			if pad := len(got) - len(strconv.Itoa(n)); key == "0" && pad != chunkSize+n {
				t.Errorf("large value %d is %d bytes long", n, len(got))
			}
		}
		if err := s.sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := rows(t, s); !strings.HasSuffix(got, "2 chunks, 0 garbage, 0 dead") {
			t.Error(got)
		}
		s.Close()
	}
}

// killWriter runs writeForever until it acknowledged 200 writes, and notes the last of each key.
func killWriter(t *testing.T, dir string, acked map[string]int) {
	t.Helper()
	count := 0
	killtest.Run(t, "KV_TEST_WRITE="+dir, func(line string) bool {
		key, n, _ := strings.Cut(line, " ")
		acked[key], _ = strconv.Atoi(n)
		count++
		return count == 200
	})
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(nil, t.TempDir(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		id := newSpace(t, s, "one")
		put(t, s, id, "k", "v", PutOptions{Expires: time.Now().Unix() + 60})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		for i, want := range []int64{1, 0} {
			<-time.After(55 * time.Second)
			synctest.Wait()
			if n, err := s.Namespace(t.Context(), account, id); err != nil || n.Keys != want {
				t.Errorf("look %d: %d keys, %v", i, n.Keys, err)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
