package r2

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/sqlite"
)

func number(t testing.TB, s *Store, query string) int {
	t.Helper()
	n, err := sqlite.One(t.Context(), s.db.Reads(), sqlite.Value[int], query)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// uploadParts puts an object in parts of a size.
func uploadParts(t testing.TB, s *Store, ref Ref, key string, data []byte, size int, o PutOptions) Object {
	t.Helper()
	u, err := s.CreateUpload(t.Context(), ref, key, o)
	if err != nil {
		t.Fatal(err)
	}
	var chosen []Chosen
	for n := 1; len(data) > 0; n++ {
		piece := data[:min(size, len(data))]
		data = data[len(piece):]
		p, err := s.UploadPart(t.Context(), ref, key, u.ID, n, bytes.NewReader(piece), PutOptions{Length: int64(len(piece)), Key: o.Key})
		if err != nil {
			t.Fatal(err)
		}
		chosen = append([]Chosen{{n, p.ETag}}, chosen...) // in any order but that of their sizes
	}
	if len(chosen) > 1 {
		chosen = append(chosen[1:], chosen[0]) // the last part, which may be small, last
	}
	obj, err := s.CompleteUpload(t.Context(), ref, key, u.ID, chosen, nil)
	if err != nil {
		t.Fatal(err)
	}
	return obj
}

func TestMultipart(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, Options{MinPart: 1000})
	ref := newBucket(t, s, "one")
	data := pattern(10_500)
	var md5s []byte
	for i := 0; i < len(data); i += 1000 {
		sum := md5.Sum(data[i:min(i+1000, len(data))])
		md5s = append(md5s, sum[:]...)
	}
	sum := md5.Sum(md5s)
	for _, key := range []*CustomerKey{nil, {7}} {
		name := fmt.Sprint(key != nil)
		o := uploadParts(t, s, ref, name, data, 1000, PutOptions{Key: key, Custom: []Field{{"a", "b"}}, HTTP: HTTPMetadata{ContentType: "x/y"}, Class: InfrequentAccess})
		if want := hex.EncodeToString(sum[:]) + "-11"; o.ETag != want == (key == nil) || o.Size != 10_500 || o.Parts != 11 || o.Custom[0].Value != "b" || o.Class != InfrequentAccess {
			t.Errorf("%+v", o)
		}
		if got := get(t, s, ref, name, GetOptions{Key: key}); !bytes.Equal(got, data) {
			t.Errorf("%d other bytes", len(got))
		}
		for _, r := range []Range{{0, 1}, {999, 2}, {1000, 1000}, {500, 3000}, {10_499, 1}, {9_999, 501}} {
			got := get(t, s, ref, name, GetOptions{Key: key, Range: RangeRequest{Offset: &r.Offset, Length: &r.Length}})
			if !bytes.Equal(got, data[r.Offset:r.Offset+r.Length]) {
				t.Errorf("%+v: %d other bytes", r, len(got))
			}
		}
	}
	checkFigures(t, s)
	s.Close()
	s = openStore(t, dir, Options{})
	if err := s.removeOrphans(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := get(t, s, ref, "false", GetOptions{}); !bytes.Equal(got, data) {
		t.Errorf("after a start: %d other bytes", len(got))
	}
}

func TestMultipartRefused(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	s := openStore(t, dir, Options{MinPart: 100, Now: func() time.Time { return now }})
	ref := newBucket(t, s, "one")
	two := newBucket(t, s, "two")
	begin := func(sizes ...int) (Upload, []Chosen) {
		t.Helper()
		u, err := s.CreateUpload(t.Context(), ref, "k", PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var list []Chosen
		for i, n := range sizes {
			p, err := s.UploadPart(t.Context(), ref, "k", u.ID, i+1, bytes.NewReader(pattern(n)), PutOptions{Length: int64(n)})
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, Chosen{i + 1, p.ETag})
		}
		return u, list
	}
	complete := func(u Upload, parts ...Chosen) error {
		_, err := s.CompleteUpload(t.Context(), ref, "k", u.ID, parts, nil)
		return err
	}
	u, p := begin(99, 100, 100, 101)
	refused(t, complete(u, p[0], p[1]), fault.Invalid, CodeTooSmall)
	refused(t, complete(u, p[1], p[3]), fault.Invalid, CodeBadUpload)
	refused(t, complete(u, p[3], p[2], p[1]), fault.Invalid, CodeBadUpload)
	refused(t, complete(u, p[1], p[1]), fault.Invalid, CodeArgument)
	refused(t, complete(u, p[1], Chosen{9, "x"}), fault.Invalid, CodeInvalidPart)
	refused(t, complete(u, Chosen{1, p[1].ETag}), fault.Invalid, CodeInvalidPart)
	for _, n := range []int{0, -1, MaxParts + 1} {
		_, err := s.UploadPart(t.Context(), ref, "k", u.ID, n, bytes.NewReader(nil), PutOptions{})
		refused(t, err, fault.Invalid, CodeArgument)
	}
	for _, wrong := range []struct {
		ref     Ref
		key, id string
	}{{two, "k", u.ID}, {ref, "other", u.ID}, {ref, "k", "x"}, {ref, "k", ""}, {ref, "k", u.ID + "A"}, {Ref{other, "one"}, "k", u.ID}} {
		_, err := s.UploadPart(t.Context(), wrong.ref, wrong.key, wrong.id, 1, bytes.NewReader(nil), PutOptions{})
		if fault.KindOf(err) != fault.NotFound {
			t.Errorf("%+v: part: %v", wrong, err)
		}
		if _, err = s.CompleteUpload(t.Context(), wrong.ref, wrong.key, wrong.id, nil, nil); fault.KindOf(err) != fault.NotFound {
			t.Errorf("%+v: complete: %v", wrong, err)
		}
		if err = s.AbortUpload(t.Context(), wrong.ref, wrong.key, wrong.id); fault.KindOf(err) != fault.NotFound {
			t.Errorf("%+v: abort: %v", wrong, err)
		}
	}
	if err := complete(u, p[2]); err != nil {
		t.Error(err)
	}
	refused(t, complete(u, p[2]), fault.NotFound, CodeNoUpload)
	if err := s.AbortUpload(t.Context(), ref, "k", u.ID); err != nil {
		t.Error(err) // as Cloudflare's, which may be aborted after it was completed
	}
	if got := get(t, s, ref, "k", GetOptions{}); !bytes.Equal(got, pattern(100)) {
		t.Errorf("%d other bytes", len(got))
	}
	u, _ = begin(100, 100)
	if err := s.AbortUpload(t.Context(), ref, "k", u.ID); err != nil {
		t.Error(err)
	}
	if err := s.AbortUpload(t.Context(), ref, "k", u.ID); err != nil {
		t.Error(err)
	}
	_, err := s.UploadPart(t.Context(), ref, "k", u.ID, 1, bytes.NewReader(nil), PutOptions{})
	refused(t, err, fault.NotFound, CodeNoUpload)
	begin(100, 100) // left open
	now = now.Add(8 * 24 * time.Hour)
	if err := s.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := number(t, s, `SELECT (SELECT count(*) FROM uploads) + (SELECT count(*) FROM garbage)`); n != 0 || len(stored(t, dir)) != 1 {
		t.Errorf("%d rows, files %v", n, stored(t, dir))
	}
	// A bucket goes with its open uploads, not with its objects.
	u, err = s.CreateUpload(t.Context(), two, "k", PutOptions{})
	if err == nil {
		_, err = s.UploadPart(t.Context(), two, "k", u.ID, 1, bytes.NewReader(pattern(9)), PutOptions{Length: 9})
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteBucket(t.Context(), two); err != nil {
		t.Error(err)
	}
	newBucket(t, s, "two")
	_, err = s.UploadPart(t.Context(), two, "k", u.ID, 1, bytes.NewReader(nil), PutOptions{})
	refused(t, err, fault.NotFound, CodeNoUpload)
	if err := s.sweep(t.Context()); err != nil || len(stored(t, dir)) != 1 {
		t.Errorf("%v, files %v", err, stored(t, dir))
	}
	checkFigures(t, s)
}

func TestUploadLists(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	ref := newBucket(t, s, "one")
	var ids []string
	for _, key := range []string{"a", "b/1", "b/2", "b/2", "c"} {
		u, err := s.CreateUpload(t.Context(), ref, key, PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, u.ID)
	}
	var got []string
	o := UploadList{Prefix: "b", Limit: 1}
	for more := true; more; {
		var list []Upload
		var err error
		if list, more, err = s.Uploads(t.Context(), ref, o); err != nil || len(list) != 1 {
			t.Fatalf("%v, %v", list, err)
		}
		got = append(got, list[0].Key)
		o.AfterKey, o.AfterID = list[0].Key, list[0].ID
	}
	if fmt.Sprint(got) != "[b/1 b/2 b/2]" {
		t.Error(got)
	}
	for n := range 5 {
		if _, err := s.UploadPart(t.Context(), ref, "a", ids[0], 5-n, bytes.NewReader(pattern(n)), PutOptions{Length: int64(n)}); err != nil {
			t.Fatal(err)
		}
	}
	_, parts, more, err := s.Parts(t.Context(), ref, "a", ids[0], 1, 3)
	if err != nil || !more || len(parts) != 3 || parts[0].Number != 2 || parts[0].Size != 3 {
		t.Errorf("%+v, %v, %v", parts, more, err)
	}
}
