package r2

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"atoll.dev/atoll/internal/fault"
)

const (
	account = "0123456789abcdef0123456789abcdef"
	other   = "fedcba9876543210fedcba9876543210"
)

func openStore(t testing.TB, dir string, opts Options) *Store {
	t.Helper()
	s, err := Open(nil, dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func newBucket(t testing.TB, s *Store, name string) Ref {
	t.Helper()
	ref := Ref{account, name}
	if _, err := s.CreateBucket(t.Context(), ref, "", ""); err != nil {
		t.Fatal(err)
	}
	return ref
}

// pattern is n bytes of which no two stretches are alike.
func pattern(n int) []byte {
	b := make([]byte, n)
	x := uint32(n)*2654435761 + 1
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

func put(t testing.TB, s *Store, ref Ref, key string, data []byte, o PutOptions) Object {
	t.Helper()
	if o.Length == 0 {
		o.Length = int64(len(data))
	}
	obj, err := s.Put(t.Context(), ref, key, bytes.NewReader(data), o)
	if err != nil {
		t.Fatal(err)
	}
	return obj
}

func get(t testing.TB, s *Store, ref Ref, key string, o GetOptions) []byte {
	t.Helper()
	_, body, err := s.Get(t.Context(), ref, key, o)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	var b bytes.Buffer
	if n, err := body.WriteTo(&b); err != nil || n != body.Range.Length {
		t.Fatalf("%d of %d bytes, %v", n, body.Range.Length, err)
	}
	return b.Bytes()
}

func refused(t testing.TB, err error, kind fault.Kind, code int) {
	t.Helper()
	if f := fault.Of(err); f == nil || f.Kind != kind || f.Code != code {
		t.Errorf("error is %v, not a fault %v %d", err, kind, code)
	}
}

// stored lists the files of the store's objects.
func stored(t testing.TB, dir string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "r2", "objects", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestBuckets(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, Options{})
	for _, name := range []string{"", "ab", "Upper", "-a-", "a_b", "a.b", "ab-", strings.Repeat("a", 64), "a/b", "ünï"} {
		_, err := s.CreateBucket(t.Context(), Ref{account, name}, "", "")
		refused(t, err, fault.Invalid, CodeBucketName)
	}
	_, err := s.CreateBucket(t.Context(), Ref{account, "abc"}, "mars", "")
	refused(t, err, fault.Invalid, CodeArgument)
	_, err = s.CreateBucket(t.Context(), Ref{account, "abc"}, "", "Glacier")
	refused(t, err, fault.Invalid, CodeArgument)
	for _, name := range []string{"abc", "abd", "xyz", strings.Repeat("z", 63)} {
		newBucket(t, s, name)
	}
	_, err = s.CreateBucket(t.Context(), Ref{account, "abc"}, "", "")
	refused(t, err, fault.Conflict, CodeBucketConflict)
	if _, err := s.CreateBucket(t.Context(), Ref{other, "abc"}, "weur", InfrequentAccess); err != nil {
		t.Error(err)
	}
	names := func(o BucketList) (list []string) {
		all, err := s.Buckets(t.Context(), account, o)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range all {
			list = append(list, b.Name[:3])
		}
		return list
	}
	for _, c := range []struct {
		o    BucketList
		want []string
	}{
		{BucketList{}, []string{"abc", "abd", "xyz", "zzz"}},
		{BucketList{Limit: 2}, []string{"abc", "abd"}},
		{BucketList{After: "abd"}, []string{"xyz", "zzz"}},
		{BucketList{Contains: "b"}, []string{"abc", "abd"}},
		{BucketList{Descending: true, After: "xyz"}, []string{"abd", "abc"}},
	} {
		if got := names(c.o); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v", c.o, got)
		}
	}
	if err := s.SetBucketClass(t.Context(), Ref{account, "abc"}, InfrequentAccess); err != nil {
		t.Error(err)
	}
	refused(t, s.SetBucketClass(t.Context(), Ref{account, "nope"}, Standard), fault.NotFound, CodeNoBucket)
	put(t, s, Ref{account, "abc"}, "k", pattern(10), PutOptions{})
	refused(t, s.DeleteBucket(t.Context(), Ref{account, "abc"}), fault.Conflict, CodeBucketNotEmpty)
	s.Close()
	s = openStore(t, dir, Options{})
	if o, err := s.Head(t.Context(), Ref{account, "abc"}, "k"); err != nil || o.Class != InfrequentAccess {
		t.Errorf("%+v, %v", o, err)
	}
	_, err = s.Head(t.Context(), Ref{other, "abc"}, "k")
	refused(t, err, fault.NotFound, CodeNoKey)
	if err := s.Delete(t.Context(), Ref{account, "abc"}, "k", "missing"); err != nil {
		t.Error(err)
	}
	if err := s.DeleteBucket(t.Context(), Ref{account, "abc"}); err != nil {
		t.Error(err)
	}
	refused(t, s.DeleteBucket(t.Context(), Ref{account, "abc"}), fault.NotFound, CodeNoBucket)
	_, err = s.Put(t.Context(), Ref{account, "abc"}, "k", strings.NewReader("x"), PutOptions{Length: 1})
	refused(t, err, fault.NotFound, CodeNoBucket)
	if b, err := s.Bucket(t.Context(), Ref{other, "abc"}); err != nil || b.Location != "WEUR" || b.Class != InfrequentAccess {
		t.Errorf("%+v, %v", b, err)
	}
	checkFigures(t, s)
}

// checkFigures compares the figures that the store keeps with what it holds.
func checkFigures(t testing.TB, s *Store) {
	t.Helper()
	for _, q := range []string{
		`SELECT count(*) FROM buckets b WHERE objects != (SELECT count(*) FROM objects WHERE bucket = b.num)`,
		`SELECT count(*) FROM buckets b WHERE bytes != (SELECT coalesce(sum(size), 0) FROM objects WHERE bucket = b.num)`,
		`SELECT count(*) FROM buckets b WHERE head != (SELECT coalesce(sum(head), 0) FROM objects WHERE bucket = b.num)`,
		`SELECT count(*) FROM buckets b WHERE uploads != (SELECT count(*) FROM uploads WHERE bucket = b.num)`,
		`SELECT count(*) FROM buckets b WHERE pending != (SELECT coalesce(sum(head + bytes), 0) FROM uploads WHERE bucket = b.num)`,
		`SELECT count(*) FROM uploads u WHERE bytes != (SELECT coalesce(sum(size + 4096), 0) FROM parts WHERE upload = u.num)`,
		`SELECT count(*) FROM accounts a WHERE bytes != (SELECT coalesce(sum(bytes + head + pending), 0) FROM buckets WHERE account = a.account)`,
		`SELECT count(*) FROM accounts a WHERE buckets != (SELECT count(*) FROM buckets WHERE account = a.account)`,
		`SELECT count(*) FROM parts WHERE upload NOT IN (SELECT num FROM uploads UNION SELECT upload FROM objects WHERE upload IS NOT NULL)`,
	} {
		if n := number(t, s, q); n != 0 {
			t.Errorf("%d of: %s", n, q)
		}
	}
}

func TestObjects(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, Options{})
	ref := newBucket(t, s, "one")
	key := &CustomerKey{1, 2, 3}
	for _, n := range []int{0, 1, 1000, maxInline - 1, maxInline, maxInline + 1, chunkSize * 2, 3*chunkSize + 17, 1<<20 + 1} {
		data := pattern(n)
		sum := md5.Sum(data)
		for _, k := range []*CustomerKey{nil, key} {
			for _, length := range []int64{int64(n), -1} {
				name := fmt.Sprintf("%d %v %d", n, k != nil, length)
				o, err := s.Put(t.Context(), ref, name, bytes.NewReader(data), PutOptions{Key: k, Length: length, Sums: map[string][]byte{"sha256": nil}})
				if err != nil {
					t.Fatal(name, err)
				}
				if k == nil && o.ETag != hex.EncodeToString(sum[:]) || k != nil && (o.ETag == hex.EncodeToString(sum[:]) || o.Sums["md5"] != "") {
					t.Errorf("%s: etag %s, sums %v", name, o.ETag, o.Sums)
				}
				if got := get(t, s, ref, name, GetOptions{Key: k}); !bytes.Equal(got, data) {
					t.Errorf("%s: %d other bytes", name, len(got))
				}
				for _, r := range []Range{{0, 1}, {int64(n / 2), int64(n)}, {int64(max(n-1, 0)), 5}, {chunkSize - 1, 2}, {1, chunkSize + 3}} {
					if r.Offset >= int64(n) {
						continue
					}
					got := get(t, s, ref, name, GetOptions{Key: k, Range: RangeRequest{Offset: &r.Offset, Length: &r.Length}})
					if want := data[r.Offset:min(r.Offset+r.Length, int64(n))]; !bytes.Equal(got, want) {
						t.Errorf("%s: %+v: %d bytes, not %d", name, r, len(got), len(want))
					}
				}
			}
		}
	}
	checkFigures(t, s)
	_, _, err := s.Get(t.Context(), ref, "1 true 1", GetOptions{})
	refused(t, err, fault.Invalid, CodeArgument)
	_, _, err = s.Get(t.Context(), ref, "1 true 1", GetOptions{Key: &CustomerKey{9}})
	refused(t, err, fault.Forbidden, CodeForbidden)
	_, _, err = s.Get(t.Context(), ref, "1 false 1", GetOptions{Key: key})
	refused(t, err, fault.Invalid, CodeArgument)
	// What a key seals is in no file in clear, small or large.
	secret := []byte("an easily recognized secret text")
	put(t, s, ref, "sealed", secret, PutOptions{Key: key})
	put(t, s, ref, "sealed-large", bytes.Repeat(secret, 10_000), PutOptions{Key: key})
	s.Close()
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, secret) {
			t.Errorf("%s holds the secret", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestPutRefused(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, Options{})
	ref := newBucket(t, s, "one")
	big := pattern(maxInline + 1)
	for _, c := range []struct {
		name string
		key  string
		body io.Reader
		o    PutOptions
		kind fault.Kind
		code int
	}{
		{"empty-key", "", bytes.NewReader(big), PutOptions{Length: -1}, fault.Invalid, CodeObjectName},
		{"long-key", strings.Repeat("k", MaxKey+1), bytes.NewReader(big), PutOptions{Length: -1}, fault.Invalid, CodeObjectName},
		{"broken-key", "a\xff", bytes.NewReader(big), PutOptions{Length: -1}, fault.Invalid, CodeObjectName},
		{"metadata", "k", bytes.NewReader(big), PutOptions{Length: -1, Custom: []Field{{"a", strings.Repeat("b", MaxMetadata)}}}, fault.Invalid, CodeMetadata},
		{"wide-metadata", "k", bytes.NewReader(big), PutOptions{Length: -1, Custom: []Field{{"a", strings.Repeat("語", MaxMetadata/2)}}}, fault.Invalid, CodeMetadata},
		{"headers", "k", bytes.NewReader(big), PutOptions{Length: -1, HTTP: HTTPMetadata{ContentType: strings.Repeat("b", MaxMetadata+1)}}, fault.Invalid, CodeMetadata},
		{"announced-size", "k", bytes.NewReader(big), PutOptions{Length: MaxPut + 1}, fault.TooLarge, CodeTooLarge},
		{"short", "k", bytes.NewReader(big), PutOptions{Length: int64(len(big)) + 1}, fault.Invalid, CodeIncomplete},
		{"short-inline", "k", bytes.NewReader(big[:100]), PutOptions{Length: 101}, fault.Invalid, CodeIncomplete},
		{"broken-off", "k", io.MultiReader(bytes.NewReader(big), broken{}), PutOptions{Length: -1}, fault.Invalid, CodeIncomplete},
		{"broken-off-inline", "k", io.MultiReader(bytes.NewReader(big[:10]), broken{}), PutOptions{Length: -1}, fault.Invalid, CodeIncomplete},
		{"digest", "k", bytes.NewReader(big), PutOptions{Length: -1, Sums: map[string][]byte{"sha1": make([]byte, 20)}}, fault.Invalid, CodeDigest},
		{"digest-inline", "k", bytes.NewReader(big[:9]), PutOptions{Length: -1, Sums: map[string][]byte{"md5": make([]byte, 16)}}, fault.Invalid, CodeDigest},
		{"condition", "k", bytes.NewReader(big), PutOptions{Length: -1, If: &Condition{Match: []ETag{{Any: true}}}}, fault.Precondition, CodePrecondition},
		{"class", "k", bytes.NewReader(big), PutOptions{Length: -1, Class: "x"}, fault.Invalid, CodeArgument},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := s.Put(t.Context(), ref, c.key, c.body, c.o)
			refused(t, err, c.kind, c.code)
			if _, err := s.Head(t.Context(), ref, "k"); fault.KindOf(err) != fault.NotFound {
				t.Errorf("there is an object: %v", err)
			}
			if list := stored(t, dir); len(list) > 0 {
				t.Errorf("files are left: %v", list)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Put(ctx, ref, "k", bytes.NewReader(big), PutOptions{Length: -1}); err == nil || len(stored(t, dir)) > 0 {
		t.Errorf("a put that was given up: %v, %v", err, stored(t, dir))
	}
	checkFigures(t, s)
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// A reader keeps what it reads though it is replaced meanwhile, and what nobody reads any more is removed.
func TestReplace(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, Options{MinPart: 10})
	ref := newBucket(t, s, "one")
	for _, how := range []string{"file", "parts"} {
		data := pattern(maxInline * 3)
		if how == "file" {
			put(t, s, ref, how, data, PutOptions{})
		} else {
			uploadParts(t, s, ref, how, data, maxInline, PutOptions{})
		}
		_, body, err := s.Get(t.Context(), ref, how, GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		put(t, s, ref, how, []byte("small"), PutOptions{})
		if err := s.sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if _, err := body.WriteTo(&b); err != nil || !bytes.Equal(b.Bytes(), data) {
			t.Errorf("%s: %d bytes, %v", how, b.Len(), err)
		}
		body.Close()
		if err := s.sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if list := stored(t, dir); len(list) > 0 {
			t.Errorf("%s: files are left: %v", how, list)
		}
		if got := get(t, s, ref, how, GetOptions{}); string(got) != "small" {
			t.Errorf("%s: %q", how, got)
		}
	}
	checkFigures(t, s)
}

func TestOrphans(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, Options{})
	ref := newBucket(t, s, "one")
	put(t, s, ref, "k", pattern(maxInline+1), PutOptions{})
	f, name, err := s.files.create() // as a put does that is under way
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := os.WriteFile(s.files.path("00112233445566778899aabbccddeeff"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.removeOrphans(t.Context()); err != nil {
		t.Fatal(err)
	}
	if list := stored(t, dir); len(list) != 2 || !slices.Contains(list, s.files.path(name)) {
		t.Errorf("left are %v", list)
	}
	s.files.release(name)
	if err := s.removeOrphans(t.Context()); err != nil {
		t.Fatal(err)
	}
	if list := stored(t, dir); len(list) != 1 {
		t.Errorf("left are %v", list)
	}
	if got := get(t, s, ref, "k", GetOptions{}); len(got) != maxInline+1 {
		t.Errorf("%d bytes", len(got))
	}
}

func TestQuota(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, Options{AccountBytes: 1 << 20, OpenUploads: 3, Writes: 2})
	ref := newBucket(t, s, "one")
	put(t, s, ref, "a", pattern(900<<10), PutOptions{})
	_, err := s.Put(t.Context(), ref, "b", bytes.NewReader(pattern(200<<10)), PutOptions{Length: 200 << 10})
	refused(t, err, fault.Full, CodeStorage)
	_, err = s.Put(t.Context(), ref, "b", bytes.NewReader(pattern(200<<10)), PutOptions{Length: -1})
	refused(t, err, fault.Full, CodeStorage)
	if len(stored(t, dir)) != 1 {
		t.Errorf("files: %v", stored(t, dir))
	}
	// What others store does not count, what is deleted no more.
	if _, err := s.CreateBucket(t.Context(), Ref{other, "one"}, "", ""); err != nil {
		t.Fatal(err)
	}
	put(t, s, Ref{other, "one"}, "b", pattern(900<<10), PutOptions{})
	if err := s.Delete(t.Context(), ref, "a"); err != nil {
		t.Fatal(err)
	}
	put(t, s, ref, "b", pattern(900<<10), PutOptions{})
	// Uploads under way share what is left.
	var readers []*io.PipeWriter
	errs := make(chan error, 2)
	for i := range 2 {
		r, w := io.Pipe()
		readers = append(readers, w)
		go func() {
			_, err := s.Put(t.Context(), ref, fmt.Sprint("p", i), r, PutOptions{Length: 100 << 10})
			errs <- err
		}()
	}
	refused(t, <-errs, fault.Full, CodeStorage) // whichever came second
	for _, w := range readers {
		go func() { io.Copy(w, bytes.NewReader(pattern(100<<10))); w.Close() }()
	}
	if err := <-errs; err != nil {
		t.Error(err)
	}
	for i := range 4 {
		_, err = s.CreateUpload(t.Context(), ref, fmt.Sprint("u", i), PutOptions{})
	}
	refused(t, err, fault.Limited, CodeTooManyRequests)
	checkFigures(t, s)
}

// Whoever never ends what he sends to his bucket, or sends it in parts of nothing, takes neither the turns of another bucket nor
// room that is not counted.
func TestSlowAndSmall(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{Writes: 2, AccountBytes: 1 << 20})
	ref, alice := newBucket(t, s, "one"), newBucket(t, s, "two")
	stalled, stop := io.Pipe()
	var sending sync.WaitGroup
	for i := range 2 {
		sending.Go(func() { s.Put(t.Context(), ref, fmt.Sprint(i), stalled, PutOptions{Length: -1}) }) // its error is the pipe's
	}
	for n := 0; n < 2; runtime.Gosched() {
		s.quota.mu.Lock()
		n = s.quota.writes[ref]
		s.quota.mu.Unlock()
	}
	_, err := s.Put(t.Context(), ref, "third", strings.NewReader("x"), PutOptions{Length: 1})
	refused(t, err, fault.Limited, CodeTooManyRequests)
	put(t, s, alice, "a", []byte("x"), PutOptions{})
	stop.CloseWithError(io.ErrUnexpectedEOF)
	sending.Wait()
	put(t, s, ref, "a", []byte("x"), PutOptions{})

	u, err := s.CreateUpload(t.Context(), ref, "parts", PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for err == nil && n < 300 {
		n++
		_, err = s.UploadPart(t.Context(), ref, "parts", u.ID, n, strings.NewReader(""), PutOptions{})
	}
	refused(t, err, fault.Full, CodeStorage)
	if err := s.AbortUpload(t.Context(), ref, "parts", u.ID); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Usage(t.Context(), account); err != nil || got > 1<<10 {
		t.Errorf("%d bytes are stored, %v", got, err)
	}
	checkFigures(t, s)
}

func TestCondition(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	o := &Object{ETag: "e", Uploaded: at}
	ptr := func(d time.Duration) *time.Time { t := at.Add(d); return &t }
	e := func(v string) []ETag { return []ETag{{Value: v}} }
	for i, c := range []struct {
		c    Condition
		o    *Object
		want bool
	}{
		{Condition{}, o, true},
		{Condition{}, nil, true},
		{Condition{Match: e("e")}, o, true},
		{Condition{Match: e("x")}, o, false},
		{Condition{Match: []ETag{{Value: "e", Weak: true}}}, o, false},
		{Condition{Match: []ETag{{Any: true}}}, o, true},
		{Condition{Match: []ETag{{Any: true}}}, nil, false},
		{Condition{NoneMatch: e("e")}, o, false},
		{Condition{NoneMatch: []ETag{{Value: "e", Weak: true}}}, o, false},
		{Condition{NoneMatch: []ETag{{Any: true}}}, o, false},
		{Condition{NoneMatch: []ETag{{Any: true}}}, nil, true},
		{Condition{NoneMatch: e("x")}, o, true},
		{Condition{Before: ptr(time.Millisecond)}, o, true},
		{Condition{Before: ptr(0)}, o, false},
		{Condition{Before: ptr(0), Match: e("e")}, o, true},
		{Condition{Before: ptr(300 * time.Millisecond), Seconds: true}, o, false},
		{Condition{Before: ptr(time.Second), Seconds: true}, o, true},
		{Condition{After: ptr(-time.Millisecond)}, o, true},
		{Condition{After: ptr(0)}, o, false},
		{Condition{After: ptr(0), NoneMatch: e("x")}, o, true},
		{Condition{After: ptr(-600 * time.Millisecond), Seconds: true}, o, false},
		{Condition{After: ptr(0)}, nil, false},
		{Condition{Before: ptr(0)}, nil, true},
	} {
		if got := c.c.Holds(c.o); got != c.want {
			t.Errorf("%d, %+v: %v", i, c.c, got)
		}
	}
}
