package store

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"

	"atoll.dev/atoll/internal/atoll"
)

// small is a version as bulk deploys send it: one module, two bindings.
func small() *atoll.Version {
	return &atoll.Version{MainModule: "index.js", CompatibilityDate: "2026-11-01", Handlers: []string{"fetch"}, Etag: "abc",
		Modules: []atoll.Module{{Name: "index.js", Type: atoll.ESModule, ContentType: "application/javascript+module", Hash: hashOf(user("x")), Size: 100}},
		Bindings: []atoll.Binding{
			{Name: "A", Type: "plain_text", Fields: json.RawMessage(`{"name":"A","text":"hi","type":"plain_text"}`)},
			{Name: "S", Type: "secret_text", Fields: json.RawMessage(`{"name":"S","type":"secret_text"}`), Secret: []byte("secret")}}}
}

// parallel calls fn for 1 to n from that many goroutines.
func parallel(b *testing.B, callers, n int, fn func(i int) error) {
	b.Helper()
	var next atomic.Int64
	done := make(chan error)
	for range callers {
		go func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				if err := fn(int(i)); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range callers {
		if err := <-done; err != nil {
			b.Error(err)
		}
	}
}

// large is a store with a namespace of n scripts.
func large(b *testing.B, n int) *DB {
	b.Helper()
	db := filled(b)
	tags := []string{"all", "odd"}
	parallel(b, 128, n, func(i int) error {
		own := tags[:1+i%2]
		_, err := db.PutVersion(context.Background(), user(fmt.Sprintf("s%07d", i)), small(), ScriptChange{Deploy: true, Tags: &own})
		return err
	})
	return db
}

func BenchmarkScript(b *testing.B) {
	for _, n := range []int{10, 20000} {
		b.Run(fmt.Sprint("of-", n), func(b *testing.B) {
			db := large(b, n)
			b.ResetTimer()
			for i := 0; i < b.N; i++ {
				_, err := db.Script(context.Background(), user(fmt.Sprintf("s%07d", 1+i%n)))
				ok(b, err)
			}
		})
	}
}

func BenchmarkScriptsPage(b *testing.B) {
	db := large(b, 20000)
	for name, filter := range map[string]string{"all": "", "tag": "odd:yes", "both": "all:yes,odd:yes", "not": "odd:no"} {
		b.Run(name, func(b *testing.B) {
			terms, err := ParseTagFilter(filter)
			ok(b, err)
			for i := 0; i < b.N; i++ {
				_, _, err := db.Scripts(context.Background(), acct, prod, ScriptFilter{Limit: 100, Tags: terms, Cursor: cursor(atoll.ScriptName(fmt.Sprintf("s%07d", i%15000)))})
				ok(b, err)
			}
		})
	}
}

func BenchmarkPutVersion(b *testing.B) {
	for _, callers := range []int{1, 16, 128} {
		b.Run(fmt.Sprint("callers-", callers), func(b *testing.B) {
			db := filled(b)
			b.ResetTimer()
			parallel(b, callers, b.N, func(i int) error {
				_, err := db.PutVersion(context.Background(), user(fmt.Sprint("s", i)), small(), ScriptChange{Deploy: true, Source: "api"})
				return err
			})
		})
	}
}
