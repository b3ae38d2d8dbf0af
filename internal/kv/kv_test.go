package kv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
)

const account = atoll.AccountID("0123456789abcdef0123456789abcdef")

// clock is a time that tests move.
type clock struct{ sec atomic.Int64 }

func (c *clock) now() time.Time { return time.Unix(c.sec.Load(), 0) }

func openStore(t testing.TB, dir string, opts Options) *Store {
	t.Helper()
	s, err := Open(nil, dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func newSpace(t testing.TB, s *Store, title string) NamespaceID {
	t.Helper()
	n, err := s.CreateNamespace(t.Context(), account, title)
	if err != nil {
		t.Fatal(err)
	}
	return n.ID
}

func put(t testing.TB, s *Store, id NamespaceID, key, value string, o PutOptions) {
	t.Helper()
	o.Length = int64(len(value))
	if err := s.Put(t.Context(), id, Key(key), strings.NewReader(value), o); err != nil {
		t.Fatalf("put %q: %v", key, err)
	}
}

// get returns "<none>" for a key that holds nothing.
func get(t testing.TB, s *Store, id NamespaceID, key string) string {
	t.Helper()
	v, ok, err := s.Get(t.Context(), id, Key(key))
	if err != nil {
		t.Fatalf("get %q: %v", key, err)
	}
	defer v.Close()
	b, err := v.Bytes()
	if err != nil {
		t.Fatalf("get %q: %v", key, err)
	}
	if !ok {
		return "<none>"
	}
	return string(b)
}

func wantFault(t testing.TB, err error, kind fault.Kind, code int, message string) {
	t.Helper()
	f := fault.Of(err)
	if f == nil || f.Kind != kind || f.Code != code || f.Message != message {
		t.Errorf("got error %v (%+v), want %v %d %q", err, f, kind, code, message)
	}
}

func TestPutGetDelete(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, Options{})
	id := newSpace(t, s, "one")
	put(t, s, id, "k", "v1", PutOptions{Metadata: `{"a":1}`, Expires: 1 << 40})
	v, ok, err := s.Get(t.Context(), id, "k")
	if err != nil || !ok || v.Metadata != `{"a":1}` || v.Expires != 1<<40 || v.Size != 2 || !v.Cached {
		t.Errorf("got %+v %v %v", v, ok, err)
	}
	put(t, s, id, "k", "v2", PutOptions{})
	if got := get(t, s, id, "k"); got != "v2" {
		t.Errorf("after overwriting: %q", got)
	}
	put(t, s, id, "empty", "", PutOptions{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = openStore(t, dir, Options{})
	if got := get(t, s, id, "k"); got != "v2" {
		t.Errorf("after reopening: %q", got)
	}
	if got := get(t, s, id, "empty"); got != "" {
		t.Errorf("empty value after reopening: %q", got)
	}
	for range 2 {
		if err := s.Delete(t.Context(), id, "k"); err != nil {
			t.Fatal(err)
		}
		if got := get(t, s, id, "k"); got != "<none>" {
			t.Errorf("after deleting: %q", got)
		}
	}
	n, err := s.Namespace(t.Context(), account, id)
	if err != nil || n.Keys != 1 || n.Bytes != int64(len("empty")) {
		t.Errorf("usage: %+v, %v", n, err)
	}
}

func TestKeys(t *testing.T) {
	for _, bad := range []string{"", ".", "..", strings.Repeat("k", 513), "a\xff"} {
		if _, err := ParseKey(bad); fault.KindOf(err) != fault.Invalid {
			t.Errorf("ParseKey(%.20q) = %v", bad, err)
		}
	}
	for _, good := range []string{"...", "/", strings.Repeat("k", 512), "\x00", "ключ"} {
		if k, err := ParseKey(good); err != nil || string(k) != good {
			t.Errorf("ParseKey(%.20q) = %q, %v", good, k, err)
		}
	}
}

func TestExpiry(t *testing.T) {
	var c clock
	c.sec.Store(1_000_000)
	s := openStore(t, t.TempDir(), Options{Now: c.now})
	id := newSpace(t, s, "one")
	for _, tt := range []struct {
		expiration, ttl string
		want            int64
		err             string
	}{
		{"", "", 0, ""},
		{"", "60", 1_000_060, ""},
		{"1000060", "", 1_000_060, ""},
		{"7", "61", 1_000_061, ""},
		{"", "59", 0, "Invalid expiration_ttl of 59. Expiration TTL must be at least 60."},
		{"", "0", 0, "Invalid expiration_ttl of 0. Please specify integer greater than 0."},
		{"", "x", 0, "Invalid expiration_ttl of x. Please specify integer greater than 0."},
		{"1000000", "", 0, "Invalid expiration of 1000000. Please specify integer greater than the current number of seconds since the UNIX epoch."},
		{"1000059", "", 0, "Invalid expiration of 1000059. Expiration times must be at least 60 seconds in the future."},
	} {
		got, err := s.ParseExpiry(tt.expiration, tt.ttl)
		if tt.err != "" {
			wantFault(t, err, fault.Invalid, codeExpiration, tt.err)
		} else if err != nil || got != tt.want {
			t.Errorf("ParseExpiry(%q, %q) = %d, %v", tt.expiration, tt.ttl, got, err)
		}
	}

	put(t, s, id, "a", "v", PutOptions{Expires: 1_000_060})
	put(t, s, id, "b", "v", PutOptions{Expires: 1_000_061})
	names := func() (names []string) {
		p, err := s.List(t.Context(), id, ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range p.Keys {
			names = append(names, string(k.Name))
		}
		return names
	}
	c.sec.Store(1_000_059)
	if got := get(t, s, id, "a"); got != "v" {
		t.Errorf("a second early: %q", got)
	}
	c.sec.Store(1_000_060)
	if got := get(t, s, id, "a"); got != "<none>" {
		t.Errorf("on time: %q", got)
	}
	if diff := cmp.Diff([]string{"b"}, names()); diff != "" {
		t.Error(diff)
	}
	if err := s.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Namespace(t.Context(), account, id); err != nil || n.Keys != 1 || n.Bytes != 2 {
		t.Errorf("after sweeping: %+v, %v", n, err)
	}
}

func TestNamespaces(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	ctx := t.Context()
	a, b := newSpace(t, s, "alpha"), newSpace(t, s, "beta")
	_, err := s.CreateNamespace(ctx, account, "alpha")
	wantFault(t, err, fault.Invalid, 10014, "a namespace with this account ID and title already exists")
	wantFault(t, s.RenameNamespace(ctx, account, b, "alpha"), fault.Invalid, 10014,
		"a namespace with this account ID and title already exists")
	if err := s.RenameNamespace(ctx, account, a, "alpha"); err != nil {
		t.Errorf("rename to its own title: %v", err)
	}
	if err := s.RenameNamespace(ctx, account, a, "zeta"); err != nil {
		t.Error(err)
	}
	_, err = s.CreateNamespace(ctx, account, " ")
	wantFault(t, err, fault.Invalid, 10019, "title is required")

	other := atoll.AccountID(strings.Repeat("f", 32))
	_, err = s.Namespace(ctx, other, a)
	wantFault(t, err, fault.NotFound, 10013, "namespace not found")
	wantFault(t, s.DeleteNamespace(ctx, other, a), fault.NotFound, 10013, "namespace not found")
	if _, err := s.CreateNamespace(ctx, other, "zeta"); err != nil {
		t.Errorf("same title in another account: %v", err)
	}
	if ok, err := s.KVNamespaceExists(ctx, account, string(a)); !ok || err != nil {
		t.Error(ok, err)
	}
	if ok, err := s.KVNamespaceExists(ctx, other, string(a)); ok || err != nil {
		t.Error(ok, err)
	}

	titles := func(o NamespaceOrder) string {
		list, total, err := s.Namespaces(ctx, account, o)
		if err != nil || total != 2 {
			t.Errorf("%+v: %d, %v", o, total, err)
		}
		var all []string
		for _, n := range list {
			all = append(all, n.Title)
		}
		return strings.Join(all, " ")
	}
	for o, want := range map[NamespaceOrder]string{
		{ByTitle: true, Page: 1, PerPage: 10}:                   "beta zeta",
		{ByTitle: true, Page: 1, PerPage: 10, Descending: true}: "zeta beta",
		{ByTitle: true, Page: 2, PerPage: 1}:                    "zeta",
		{ByTitle: true, Page: 3, PerPage: 1}:                    "",
	} {
		if got := titles(o); got != want {
			t.Errorf("%+v: %q, want %q", o, got, want)
		}
	}

	put(t, s, a, "k", "v", PutOptions{})
	if err := s.DeleteNamespace(ctx, account, a); err != nil {
		t.Fatal(err)
	}
	_, _, err = s.Get(ctx, a, "k")
	wantFault(t, err, fault.NotFound, 10013, "namespace not found")
	if err := s.sweep(ctx); err != nil {
		t.Fatal(err)
	}
	if got := rows(t, s); got != "0 entries, 0 chunks, 0 garbage, 0 dead" {
		t.Error(got)
	}
}

// rows counts what the file holds.
func rows(t *testing.T, s *Store) string {
	t.Helper()
	var out []string
	for _, table := range []string{"entries", "chunks", "garbage", "dead"} {
		var n int
		if err := s.readers.QueryRow(`SELECT count(*) FROM ` + table).Scan(&n); err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprint(n, " ", table))
	}
	return strings.Join(out, ", ")
}

func TestList(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	id, other := newSpace(t, s, "one"), newSpace(t, s, "two")
	// In UTF-16, which JavaScript sorts by, U+FF61 stands behind U+1F600; by bytes it stands before.
	keys := []string{"p", "p/", "p/a", "p/b", "p/｡", "p/😀", "pa", "q", "A", "é", "\x00"}
	for _, k := range keys {
		put(t, s, id, k, "v", PutOptions{Metadata: `"` + strconv.Itoa(len(k)) + `"`})
		put(t, s, other, k+"!", "v", PutOptions{})
	}
	sort.Strings(keys)
	for _, prefix := range []string{"", "p", "p/", "p/｡", "nope", "\x00"} {
		var want []string
		for _, k := range keys {
			if strings.HasPrefix(k, prefix) {
				want = append(want, k)
			}
		}
		for limit := 1; limit <= len(keys)+1; limit++ {
			var got []string
			for o := (ListOptions{Prefix: prefix, Limit: limit}); ; {
				p, err := s.List(t.Context(), id, o)
				if err != nil {
					t.Fatal(err)
				}
				for _, k := range p.Keys {
					got = append(got, string(k.Name))
				}
				if o.Cursor = p.Cursor; o.Cursor == "" {
					break
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("prefix %q, limit %d: %s", prefix, limit, diff)
			}
		}
	}
	_, err := s.List(t.Context(), id, ListOptions{Cursor: "%"})
	wantFault(t, err, fault.Invalid, codeMalformed, "Invalid cursor.")
}

func TestBulk(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	id := newSpace(t, s, "one")
	var items []BulkItem
	var keys []Key
	for i := range 1200 {
		keys = append(keys, Key(fmt.Sprint("k", i)))
		items = append(items, BulkItem{Key: keys[i], Value: []byte(fmt.Sprint("v", i))})
	}
	items = append(items, BulkItem{Key: "big", Value: bytes.Repeat([]byte("x"), 3<<20)}, BulkItem{Key: "k7", Value: []byte("again")})
	if failed, err := s.PutMany(t.Context(), id, items); len(failed) > 0 || err != nil {
		t.Fatal(failed, err)
	}
	if a, b, c := get(t, s, id, "k7"), get(t, s, id, "k1199"), len(get(t, s, id, "big")); a != "again" || b != "v1199" || c != 3<<20 {
		t.Error(a, b, c)
	}
	if failed, err := s.DeleteMany(t.Context(), id, append(keys, "big", "none")); len(failed) > 0 || err != nil {
		t.Fatal(failed, err)
	}
	if err := s.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := rows(t, s); got != "0 entries, 0 chunks, 0 garbage, 0 dead" {
		t.Error(got)
	}
}

func TestQuota(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{AccountBytes: 100})
	id, other := newSpace(t, s, "one"), newSpace(t, s, "two")
	put(t, s, id, "k", strings.Repeat("x", 59), PutOptions{})
	full := func(id NamespaceID, key, value string) {
		t.Helper()
		err := s.Put(t.Context(), id, Key(key), strings.NewReader(value), PutOptions{})
		wantFault(t, err, fault.Full, codeFull, "the account's KV storage limit of 100 bytes is reached")
	}
	full(other, "k", strings.Repeat("x", 40))
	put(t, s, other, "k", strings.Repeat("x", 39), PutOptions{})
	full(id, "j", "")
	put(t, s, id, "k", strings.Repeat("x", 58), PutOptions{})
	put(t, s, id, "j", "", PutOptions{})
	failed, err := s.PutMany(t.Context(), id, []BulkItem{{Key: "j", Value: []byte("more")}, {Key: "k"}, {Key: "l"}})
	if fmt.Sprint(failed) != "[j]" || fault.KindOf(err) != fault.Full {
		t.Error(failed, err)
	}
	if err := s.DeleteNamespace(t.Context(), account, other); err != nil {
		t.Fatal(err)
	}
	put(t, s, id, "k", strings.Repeat("x", 90), PutOptions{})
}

// TestFullDisk fills the file to a bound that SQLite treats as a full disk.
func TestFullDisk(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	id := newSpace(t, s, "one")
	put(t, s, id, "old", "value", PutOptions{})
	if _, err := s.writer.conn.ExecContext(t.Context(), `PRAGMA max_page_count = 40`); err != nil {
		t.Fatal(err)
	}
	err := s.Put(t.Context(), id, "old", bytes.NewReader(make([]byte, 500_000)), PutOptions{})
	wantFault(t, err, fault.Full, codeFull, "the disk is full")
	err = s.Put(t.Context(), id, "old", bytes.NewReader(make([]byte, 5_000_000)), PutOptions{})
	wantFault(t, err, fault.Full, codeFull, "the disk is full")

	// Of writes that meet in one transaction, only the one that does not fit fails.
	var wg sync.WaitGroup
	errs := make([]error, 20)
	for i := range errs {
		wg.Go(func() {
			value := []byte("small")
			if i == 7 {
				value = make([]byte, 500_000)
			}
			errs[i] = s.Put(context.Background(), id, Key(fmt.Sprint(i)), bytes.NewReader(value), PutOptions{})
		})
	}
	wg.Wait()
	for i, err := range errs {
		if (err != nil) != (i == 7) {
			t.Errorf("put %d: %v", i, err)
		}
	}
	if got := get(t, s, id, "old"); got != "value" {
		t.Errorf("old value: %.20q", got)
	}
	if _, err := s.writer.conn.ExecContext(t.Context(), `PRAGMA max_page_count = 100000`); err != nil {
		t.Fatal(err)
	}
	put(t, s, id, "old", strings.Repeat("x", 500_000), PutOptions{})
}

func TestWithdrawnWrite(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	id := newSpace(t, s, "one")
	s.writer.lead <- struct{}{} // someone commits for long
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("the client is gone")
	cancel(gone)
	if err := s.Put(ctx, id, "k", strings.NewReader("v"), PutOptions{}); !errors.Is(err, gone) {
		t.Errorf("got %v", err)
	}
	<-s.writer.lead
	put(t, s, id, "other", "v", PutOptions{})
	if got := get(t, s, id, "k"); got != "<none>" {
		t.Errorf("a withdrawn write was committed: %q", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), id, "k", strings.NewReader("v"), PutOptions{}); !errors.Is(err, errClosed) {
		t.Errorf("after closing: %v", err)
	}
}

// A namespace that is written once waits for no more than one write of one that is written a thousand times.
func TestNamespacesTakeTurns(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	spaces := map[string]*space{}
	for _, name := range []string{"flood", "alice"} {
		sp, err := s.space(newSpace(t, s, name))
		if err != nil {
			t.Fatal(err)
		}
		spaces[name] = sp
	}
	s.writer.lead <- struct{}{} // someone commits for long
	var order []string          // only the lead touches it
	var wg sync.WaitGroup
	queued := 0
	write := func(name string) {
		wg.Go(func() {
			sp := spaces[name]
			err := s.writer.do(t.Context(), &write{space: sp, apply: func(x *tx) error {
				order = append(order, name)
				return s.applyPut(x, sp, item{Key(name), &entry{present: true}}, true)
			}})
			if err != nil {
				t.Error(err)
			}
		})
		queued++
		for n := 0; n != queued; runtime.Gosched() {
			s.writer.mu.Lock()
			n = s.writer.queue.Len()
			s.writer.mu.Unlock()
		}
	}
	for range maxBatchWrites + 10 {
		write("flood")
	}
	write("alice")
	<-s.writer.lead
	wg.Wait()
	if len(order) != queued || order[1] != "alice" {
		t.Errorf("%d writes came in the order of %q ...", len(order), order[:3])
	}
}
