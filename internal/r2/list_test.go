package r2

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"atoll.dev/atoll/internal/fault"
)

// TestList compares lists with those of a model that looks at every key.
func TestList(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	ref := newBucket(t, s, "one")
	rng := rand.New(rand.NewPCG(1, 2))
	alphabet := []string{"a", "b", "/", "//", "é", "😀", "\x00", "~", "\U0010ffff"}
	var keys []string
	for range 400 {
		key := ""
		for range 1 + rng.IntN(5) {
			key += alphabet[rng.IntN(len(alphabet))]
		}
		keys = append(keys, key)
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	for _, k := range keys {
		put(t, s, ref, k, []byte(k), PutOptions{})
	}
	pick := func() string { return keys[rng.IntN(len(keys))] }
	for i := range 500 {
		o := ListOptions{Limit: 1 + rng.IntN(40)}
		if rng.IntN(2) == 0 {
			o.Prefix = pick()[:1]
			for !strings.HasPrefix(o.Prefix, "a") && rng.IntN(2) == 0 {
				o.Prefix = strings.ToValidUTF8(pick()[:1], "")
			}
			o.Prefix = strings.ToValidUTF8(o.Prefix, "é")
		}
		if rng.IntN(3) > 0 {
			o.Delimiter = []string{"/", "a", "//", "é", "\U0010ffff"}[rng.IntN(5)]
		}
		if rng.IntN(3) == 0 {
			o.After = pick()
		}
		var got []string
		for pages := 0; ; pages++ {
			p, err := s.List(t.Context(), ref, o)
			if err != nil || pages > len(keys) {
				t.Fatal(err)
			}
			if n := len(p.Objects) + len(p.Prefixes); n > o.Limit || n < o.Limit && p.Cursor != "" {
				t.Fatalf("%d: %+v: %d on a page", i, o, n)
			}
			for _, obj := range p.Objects {
				got = append(got, "key "+obj.Key)
			}
			for _, prefix := range p.Prefixes {
				got = append(got, "prefix "+prefix)
			}
			if p.Cursor == "" {
				break
			}
			o.Cursor = p.Cursor
		}
		slices.Sort(got)
		if diff := cmp.Diff(listed(keys, o), got); diff != "" {
			t.Fatalf("%d: %+v: %s", i, o, diff)
		}
	}
	for _, o := range []ListOptions{{Limit: 1001}, {Limit: -1}} {
		_, err := s.List(t.Context(), ref, o)
		refused(t, err, fault.Invalid, CodeMaxKeys)
	}
	_, err := s.List(t.Context(), ref, ListOptions{Cursor: "!"})
	refused(t, err, fault.Invalid, CodeArgument)
	p, err := s.List(t.Context(), ref, ListOptions{Accept: func(o *Object, group string) bool { return o.Key < keys[3] }})
	if err != nil || len(p.Objects) != 3 || p.Cursor == "" {
		t.Errorf("%d objects, %v", len(p.Objects), err)
	}
}

// listed is what a list of all pages holds, sorted.
func listed(keys []string, o ListOptions) []string {
	var out []string
	for _, k := range keys {
		if !strings.HasPrefix(k, o.Prefix) || o.After != "" && k <= o.After {
			continue
		}
		if i := strings.Index(k[len(o.Prefix):], o.Delimiter); o.Delimiter != "" && i >= 0 {
			out = append(out, "prefix "+k[:len(o.Prefix)+i+len(o.Delimiter)])
			continue
		}
		out = append(out, "key "+k)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// A list by groups does not read the keys in them.
func TestListSkips(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	ref := newBucket(t, s, "one")
	for i := range 2000 {
		put(t, s, ref, fmt.Sprintf("d%d/%04d", i/1000, i), nil, PutOptions{})
	}
	p, err := s.List(t.Context(), ref, ListOptions{Delimiter: "/"})
	if err != nil || !slices.Equal(p.Prefixes, []string{"d0/", "d1/"}) || p.Cursor != "" {
		t.Errorf("%+v, %v", p, err)
	}
}
