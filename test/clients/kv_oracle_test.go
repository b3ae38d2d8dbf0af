package clients_test

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestKVOracle makes the same generated operations in a Worker on the node's KV and in the same Worker on miniflare's, and
// compares every field of every answer.
func TestKVOracle(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	code := oracleWorker(t, "kv-oracle")
	var ns struct{ ID string }
	n.result("POST", n.acct()+"/storage/kv/namespaces", "application/json", `{"title":"oracle"}`, &ns)
	n.oracleOrdinary(code, `[{"type":"kv_namespace","name":"KV","namespace_id":"`+ns.ID+`"}]`)
	peer := onMiniflare(t, code, map[string]any{"kvNamespaces": map[string]string{"KV": "oracle"}})

	g := kvGenerator{oracleRandom(t), time.Now().Unix()}
	count := oracleCount(900)
	done, refused, differing := 0, 0, 0
	for done < count {
		var steps []map[string]any
		g.now = time.Now().Unix()
		for range 45 {
			steps = append(steps, g.step())
		}
		ours, theirs := oracleSteps(t, n.edge, oracleHost, steps), oracleSteps(t, peer, "", steps)
		for i, step := range steps {
			a, b := kvAlike(ours[i]), kvAlike(theirs[i])
			if m := a.(map[string]any); m["error"] != nil {
				refused++
			}
			if !kvManyWrong(step, a, b) && !kvEqual(a, b) {
				oracleDiffers(t, done+i, step, a, b)
				if differing++; differing > 10 {
					t.FailNow()
				}
			}
		}
		done += len(steps)
	}
	t.Logf("%d operations, %d of them refused by both", done, refused)
	if refused < done/20 || refused > done/2 {
		t.Error("the generator is out of balance")
	}
}

// kvManyWrong tells whether both refuse an operation on several keys: of several mistakes, which one is told of is each
// one's own.
func kvManyWrong(step map[string]any, a, b any) bool {
	keys, _ := step["key"].([]string)
	return len(keys) > 1 && a.(map[string]any)["error"] != nil && b.(map[string]any)["error"] != nil
}

// kvAlike takes out of an answer what the two differ in on purpose; docs/kv.md has the list.
func kvAlike(v any) any {
	switch v := v.(type) {
	case map[string]any:
		delete(v, "cacheStatus") // HIT or MISS here, as on Cloudflare; miniflare has none
		if entries, ok := v["map"].([]any); ok {
			v["map"] = slices.DeleteFunc(entries, kvLost)
		}
		for k, x := range v {
			v[k] = kvAlike(x)
		}
	case []any:
		for i := range v {
			v[i] = kvAlike(v[i])
		}
	}
	return v
}

// kvLost tells whether an entry of a read of several keys is one that miniflare loses: the key __proto__, which it makes the
// name of an object's property, and a value that is JSON's null, which it takes for none.
func kvLost(entry any) bool {
	e, ok := entry.([]any)
	if !ok || len(e) != 2 {
		return false
	}
	text, _ := json.Marshal(e[1])
	return e[0] == "__proto__" || string(text) == `{"value":null}` || strings.Contains(string(text), `"value":{"value":null}`)
}

// kvEqual compares, and lets times of expiry that are counted from two clocks differ by what lies between the calls.
func kvEqual(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for k, x := range a {
			y, ok := b[k]
			if !ok || !kvEqual(x, y) {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !kvEqual(a[i], b[i]) {
				return false
			}
		}
		return true
	case float64:
		b, ok := b.(float64)
		return ok && (a == b || a > 1e9 && b > 1e9 && max(a-b, b-a) <= 30)
	}
	return reflect.DeepEqual(a, b)
}

// kvGenerator makes operations that a namespace's life may bring. It starts where the clock stands, and no key expires
// meanwhile: the shortest life is a minute.
type kvGenerator struct {
	rng *rand.Rand
	now int64
}

// kvKeys are the ordinary ones first.
var kvKeys = []string{"a", "b", "ab", "a/b", "a/c", "a/b/c", "user:1", "user:2", "user:10", "User:1", "é", "語/1", "a/", "/", "//", "/a", " ", "a b", "a+b", "%41", "%", "%zz", "?", "a?b=c",
	"#", "a\nb", "\t", "\"", "\\", "'", "<", "&", "../x", "./x", "x/..", "~", "z\u007f", "\u0080", "\u00ff", "\uffff", "😀", "😀b", "constructor", "__proto__", "bulk/get", "null", "undefined", "a=b", "a;b",
	strings.Repeat("k", 512), strings.Repeat("é", 256), strings.Repeat("k", 513), strings.Repeat("é", 257), "", ".", ".."}

func (g kvGenerator) one(list ...any) any { return list[g.rng.IntN(len(list))] }

func (g kvGenerator) key() string {
	if g.rng.IntN(3) > 0 {
		return kvKeys[g.rng.IntN(12)]
	}
	return kvKeys[g.rng.IntN(len(kvKeys))]
}

func (g kvGenerator) step() map[string]any {
	switch n := g.rng.IntN(22); {
	case n < 8:
		return g.put()
	case n < 11:
		return map[string]any{"op": "get", "key": g.key(), "options": g.read("text", "json", "arrayBuffer", "stream")}
	case n < 14:
		return map[string]any{"op": "meta", "key": g.key(), "options": g.read("text", "json", "arrayBuffer", "stream")}
	case n < 17:
		return map[string]any{"op": g.one("get", "meta"), "key": g.keys(), "options": g.read("text", "json")}
	case n < 19:
		return map[string]any{"op": "delete", "key": g.key()}
	}
	o := map[string]any{"prefix": g.one("", "a", "a/", "user:", "U", "é", "%", "😀", "nothing", "\n", nil, strings.Repeat("k", 512), strings.Repeat("k", 513))}
	if g.rng.IntN(2) == 0 {
		o["limit"] = g.one(1, 2, 3, 7, 999, 1000)
		return map[string]any{"op": "pages", "options": o}
	}
	if g.rng.IntN(3) == 0 {
		o["limit"] = g.one(0, -1, 1001, 1000, 1e6)
	}
	if o["prefix"] == nil {
		delete(o, "prefix")
	}
	return map[string]any{"op": "list", "options": o}
}

// read is a read's options: none, a type, or an object of them.
func (g kvGenerator) read(types ...any) any {
	switch g.rng.IntN(6) {
	case 0:
		return g.one(nil, "text", map[string]any{})
	case 1:
		return g.one("json", "text", "blob", "JSON")
	case 2:
		return map[string]any{"type": g.one(types...), "cacheTtl": g.one(30, 60, 86400, 29, 0, -1)}
	}
	return map[string]any{"type": g.one(types...)}
}

// keys are those of a read of several: some that are there, some not, and seldom too many.
func (g kvGenerator) keys() []string {
	n := g.one(0, 1, 2, 3, 5, 8, 12, 12, 12, 100, 101).(int)
	list := []string{}
	for i := range n {
		if n > 12 {
			list = append(list, "none-"+strconv.Itoa(i))
		} else if g.rng.IntN(12) == 0 {
			list = append(list, g.key())
		} else {
			list = append(list, kvKeys[g.rng.IntN(12)])
		}
	}
	return list
}

func (g kvGenerator) put() map[string]any {
	v := map[string]any{"as": g.one("text", "text", "buffer", "view", "stream", "chunks")}
	switch g.rng.IntN(8) {
	case 0:
		v["size"] = g.one(0, 1, 1000, 70000, 3<<20)
	case 1:
		raw := make([]int, g.rng.IntN(20))
		for i := range raw {
			raw[i] = g.rng.IntN(256)
		}
		v["raw"], v["as"] = raw, g.one("buffer", "view", "stream", "chunks")
	default:
		v["text"] = g.one("hello", "", "42", `"text"`, `{"a":[1,2,{"b":null}],"é":"語"}`, `[]`, "null", "true", " 1 ", "{broken", "\ufeff1", "\ufeffbom", "line\r\nline", "\u0000", "é語😀")
	}
	o := map[string]any{}
	if g.rng.IntN(3) == 0 {
		o["metadata"] = g.one(map[string]any{"a": 1, "é": []any{"語", nil, true}}, "text", 42, true, []any{}, map[string]any{}, nil, "", 0, false, 1.5e300,
			map[string]any{"x": strings.Repeat("m", 1014)}, strings.Repeat("m", 1022), strings.Repeat("m", 1023), strings.Repeat("é", 512))
	}
	switch g.rng.IntN(6) {
	case 0:
		o["expirationTtl"] = g.one(60, 61, 3600, 1e9, 59, 1, 0, -60, 90.7)
	case 1:
		o["expiration"] = g.one(g.now+3600, g.now+1e6, g.now+7200, g.now+30, g.now-5, 0, 1, -1)
	case 2:
		if g.rng.IntN(3) == 0 {
			o["expiration"], o["expirationTtl"] = g.now+3600, g.one(120, 30)
		}
	}
	return map[string]any{"op": "put", "key": g.key(), "value": v, "options": o}
}
