package node_test

import (
	_ "embed"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"atoll.dev/atoll/internal/node"
	"atoll.dev/atoll/internal/sqlite"
)

//go:embed testdata/points.js
var pointsWorker string

// points reads the data points of a node's file, in the order they were written, once there are so many.
func (r *rig) points(n int) []string {
	r.t.Helper()
	db, err := sqlite.Open(nil, filepath.Join(r.data, "analytics.db"), os.DirFS("../analytics"))
	if err != nil {
		r.t.Fatal(err)
	}
	defer db.Close()
	deadline := time.Now().Add(20 * time.Second)
	for {
		list, err := sqlite.All(r.t.Context(), db.Reads(), sqlite.Value[string], `SELECT d.name || ' ' || index1 || ' ' || coalesce(blob1, '-') || ' ' ||
			coalesce(blob20, '-') || ' ' || coalesce(double1, '-') || ' ' || coalesce(double20, '-') FROM points p JOIN datasets d ON d.num = p.dataset ORDER BY key`)
		if err != nil {
			r.t.Fatal(err)
		}
		if len(list) >= n {
			return list
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("there are %d data points, not %d: %v", len(list), n, list)
		}
	}
}

func TestDataPoints(t *testing.T) {
	t.Parallel()
	r := newRig(t, node.Config{})
	for _, host := range []string{"one", "two"} {
		r.put(host, pointsWorker, map[string]any{"type": "analytics_engine", "name": "POINTS", "dataset": "clicks_" + host})
		r.route(host+"."+zone+"/*", host)
	}
	twenty := func(v string) string { return strings.TrimSuffix(strings.Repeat(v+",", 20), ",") }
	write := func(host, body, want string) {
		t.Helper()
		if status, got := r.post(host, "/", body); status != 200 || got != want {
			t.Errorf("%.200s: %d %s, want %s", body, status, got, want)
		}
	}
	write("one", `{"write":[{"indexes":["a"],"blobs":["x",null],"doubles":[1.5]},null,{"blobs":[`+twenty(`"b"`)+`],"doubles":[`+twenty("2")+`]}]}`, "[true,true,true]")
	// What is over a bound is dropped and says nothing.
	write("one", `{"write":[{"blobs":[`+twenty(`"b"`)+`,"b"]},{"doubles":[`+twenty("2")+`,2]},{"indexes":["a","b"]},{"indexes":["`+strings.Repeat("i", 97)+`"]},
		{"blobs":["`+strings.Repeat("b", 16001)+`"]}]}`, "[true,true,true,true,true]")
	write("two", `{"write":[{"indexes":["later"],"bytes":"bytes","doubles":["7"]}],"later":true}`, "[]")
	want := []string{"clicks_one a x - 1.5 -", "clicks_one  - - - -", "clicks_one  b b 2.0 2.0", "clicks_two later bytes - 7.0 -"}
	slices.Sort(want) // nobody waits for points, so those of two requests may come in any order
	if got := slices.Sorted(slices.Values(r.points(4))); !slices.Equal(got, want) {
		t.Errorf("data points:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// An invocation writes 250 and no more.
	write("two", `{"write":[{"indexes":["many"]},{"indexes":["many"]}],"times":200}`, "[true,true]")
	write("two", `{"write":[{"indexes":["next"]}]}`, "[true]")
	if got := r.points(4 + 250 + 1); len(got) != 255 || !slices.Contains(got, "clicks_two next - - - -") {
		t.Errorf("%d data points: %q", len(got), got)
	}
	if refused := r.upload("bad", pointsWorker, map[string]any{"bindings": []any{map[string]any{"type": "analytics_engine", "name": "X", "dataset": "a b"}}}); !strings.Contains(refused, "dataset") {
		t.Errorf("a bad name: %s", refused)
	}
}

func TestRateLimits(t *testing.T) {
	t.Parallel()
	r := newRig(t, node.Config{})
	limit := map[string]any{"type": "ratelimit", "name": "LIMITER", "namespace_id": "1001", "simple": map[string]int{"limit": 3, "period": 60}}
	r.put("shop", pointsWorker, limit)
	r.route("shop."+zone+"/*", "shop")
	_, got := r.post("shop", "/", `{"limit":[{"key":"a"},{"key":"a"},{"key":"b"},{"key":"a"},{"key":"a"},{"key":"b"},{},{"key":7},{"other":1},5]}`)
	want := `[true,true,true,true,false,true,true,"Error: invalid key: 7","Error: bad rate limit options: [other]","Error: invalid rate limit options"]`
	if got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	for _, simple := range []string{`{}`, `{"limit":0,"period":60}`, `{"limit":1,"period":61}`, `{"limit":1.5,"period":10}`} {
		bad := map[string]any{"type": "ratelimit", "name": "LIMITER", "namespace_id": "1", "simple": json.RawMessage(simple)}
		if refused := r.upload("bad", pointsWorker, map[string]any{"bindings": []any{bad}}); !strings.Contains(refused, "ratelimit") {
			t.Errorf("%s: %s", simple, refused)
		}
	}
}
