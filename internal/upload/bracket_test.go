package upload

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fieldsOf parses lines "name=value" under metadata.
func fieldsOf(lines string) []field {
	var fs []field
	for _, line := range strings.Fields(lines) {
		name, value, _ := strings.Cut(line, "=")
		fs = append(fs, field{"metadata" + name, value})
	}
	return fs
}

func TestUnbracket(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"scalars", "[main_module]=w.mjs [logpush]=true [limits][cpu_ms]=50 [observability][head_sampling_rate]=0.5",
			`{"limits":{"cpu_ms":50},"logpush":true,"main_module":"w.mjs","observability":{"head_sampling_rate":0.5}}`},
		{"what-looks-like-a-number-is-text", "[tags][]=1 [tags][]=true [annotations][enabled]=true [main_module]=5 [bindings][][type]=plain_text [bindings][][name]=1 [bindings][][text]=2",
			`{"annotations":{"enabled":"true"},"bindings":[{"name":"1","text":"2","type":"plain_text"}],"main_module":"5","tags":["1","true"]}`},
		{"slash-in-key", "[annotations][workers/message]=m", `{"annotations":{"workers/message":"m"}}`},
		{"json-numbers-in-javascript's-spelling-alone", "[bindings][][type]=json [bindings][][name]=A [bindings][][json][]=1.5 [bindings][][json][]=007 [bindings][][json][]=1e3 [bindings][][json][]=NaN [bindings][][json][]=+Inf [bindings][][json][]=12345678901234567890 [bindings][][json][]=false",
			`{"bindings":[{"json":[1.5,"007","1e3","NaN","+Inf","12345678901234567890",false],"name":"A","type":"json"}]}`},

		{"in-order", "[bindings][][type]=plain_text [bindings][][name]=A [bindings][][text]=a [bindings][][type]=kv_namespace [bindings][][name]=B [bindings][][namespace_id]=b [bindings][][type]=plain_text [bindings][][name]=C [bindings][][text]=c",
			`{"bindings":[{"name":"A","text":"a","type":"plain_text"},{"name":"B","namespace_id":"b","type":"kv_namespace"},{"name":"C","text":"c","type":"plain_text"}]}`},
		{"in-order-keys-as-they-come", "[bindings][][type]=kv_namespace [bindings][][namespace_id]=a [bindings][][name]=A [bindings][][name]=B [bindings][][type]=version_metadata",
			`{"bindings":[{"name":"A","namespace_id":"a","type":"kv_namespace"},{"name":"B","type":"version_metadata"}]}`},
		{"in-order-inner-array", "[bindings][][type]=dispatch_namespace [bindings][][name]=A [bindings][][namespace]=n [bindings][][outbound][params][][name]=p [bindings][][outbound][params][][name]=q [bindings][][type]=version_metadata [bindings][][name]=B",
			`{"bindings":[{"name":"A","namespace":"n","outbound":{"params":[{"name":"p"},{"name":"q"}]},"type":"dispatch_namespace"},{"name":"B","type":"version_metadata"}]}`},
		{"grouped", "[bindings][][type]=plain_text [bindings][][type]=kv_namespace [bindings][][type]=secret_text [bindings][][name]=A [bindings][][name]=B [bindings][][name]=C [bindings][][text]=a [bindings][][text]=c [bindings][][namespace_id]=b",
			`{"bindings":[{"name":"A","text":"a","type":"plain_text"},{"name":"B","namespace_id":"b","type":"kv_namespace"},{"name":"C","text":"c","type":"secret_text"}]}`},
		{"grouped-optional-of-one", "[bindings][][type]=service [bindings][][type]=plain_text [bindings][][name]=A [bindings][][name]=B [bindings][][service]=s [bindings][][entrypoint]=E [bindings][][text]=b",
			`{"bindings":[{"entrypoint":"E","name":"A","service":"s","type":"service"},{"name":"B","text":"b","type":"plain_text"}]}`},
		{"grouped-optional-of-all", "[bindings][][type]=service [bindings][][type]=service [bindings][][name]=A [bindings][][name]=B [bindings][][service]=s [bindings][][service]=t [bindings][][entrypoint]=E [bindings][][entrypoint]=F",
			`{"bindings":[{"entrypoint":"E","name":"A","service":"s","type":"service"},{"entrypoint":"F","name":"B","service":"t","type":"service"}]}`},
		{"grouped-inner-array-of-one", "[bindings][][type]=dispatch_namespace [bindings][][type]=plain_text [bindings][][name]=A [bindings][][name]=B [bindings][][namespace]=n [bindings][][outbound][params][][name]=p [bindings][][outbound][params][][name]=q [bindings][][text]=b",
			`{"bindings":[{"name":"A","namespace":"n","outbound":{"params":[{"name":"p"},{"name":"q"}]},"type":"dispatch_namespace"},{"name":"B","text":"b","type":"plain_text"}]}`},
		{"one-key-elements", "[tail_consumers][][service]=a [tail_consumers][][service]=b", `{"tail_consumers":[{"service":"a"},{"service":"b"}]}`},

		{"grouped-doubt", "[bindings][][type]=service [bindings][][type]=service [bindings][][name]=A [bindings][][name]=B [bindings][][service]=s [bindings][][service]=t [bindings][][entrypoint]=E",
			"metadata[bindings][][entrypoint] could belong to more than one element: send metadata as one JSON part instead"},
		{"grouped-doubt-inside", "[bindings][][type]=json [bindings][][type]=json [bindings][][name]=A [bindings][][name]=B [bindings][][json][a][]=1 [bindings][][json][a][]=2",
			"metadata[bindings][][json][a][] could belong to more than one element: send metadata as one JSON part instead"},
		{"grouped-doubt-consumers", "[tail_consumers][][service]=a [tail_consumers][][service]=b [tail_consumers][][environment]=e",
			"metadata[tail_consumers][][environment] could belong to more than one element: send metadata as one JSON part instead"},
		{"in-order-doubt", "[bindings][][type]=version_metadata [bindings][][name]=A [bindings][][entrypoint]=E [bindings][][type]=service [bindings][][name]=B [bindings][][service]=s",
			"metadata[bindings][][entrypoint] could belong to more than one element: send metadata as one JSON part instead"},
		{"grouped-without-name", "[bindings][][type]=service [bindings][][type]=service [bindings][][name]=A", "metadata[bindings][] must have a type and a name in each element"},
		{"grouped-field-of-no-binding", "[bindings][][type]=plain_text [bindings][][type]=plain_text [bindings][][name]=A [bindings][][name]=B [bindings][][service]=s",
			"metadata[bindings][][service] could belong to more than one element: send metadata as one JSON part instead"},
		{"grouped-not-served", "[bindings][][type]=hyperdrive [bindings][][type]=vectorize [bindings][][name]=A [bindings][][name]=B [bindings][][id]=x",
			"binding A of type hyperdrive is not supported by this node yet"},
		{"array-of-arrays", "[bindings][][type]=json [bindings][][name]=A [bindings][][json][][]=1", "metadata[bindings][][json][] is an array of arrays or of mixed values, whose borders are lost: send metadata as one JSON part instead"},
		{"elements-all-of-arrays", "[bindings][][type]=json [bindings][][name]=A [bindings][][json][][a][]=1", "metadata[bindings][][json][] is an array whose elements cannot be told apart: send metadata as one JSON part instead"},
		{"array-and-object", "[a][]=1 [a][b]=2", "metadata[a] is an array in one field and an object in another"},
		{"scalar-and-object", "[a]=1 [a][b]=2", "metadata[a] was sent twice"},
		{"no-brackets", "x=1", `could not parse the name of the field "metadatax"`},
		{"empty-root", "[]=1", `could not parse the name of the field "metadata[]"`},
		{"too-deep", strings.Repeat("[a]", 33) + "=1", `could not parse the name of the field "metadata` + strings.Repeat("[a]", 33) + `"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw, err := unbracket("metadata", fieldsOf(c.in))
			got := string(raw)
			if err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// flatten is how SDK 7 takes a document apart.
func flatten(name string, v any) []field {
	switch v := v.(type) {
	case []any:
		var fs []field
		for _, e := range v {
			fs = append(fs, flatten(name+"[]", e)...)
		}
		return fs
	case ordered:
		var fs []field
		for _, p := range v {
			fs = append(fs, flatten(name+"["+p.key+"]", p.value)...)
		}
		return fs
	}
	return []field{{name, fmt.Sprint(v)}}
}

// ordered is an object with its keys in the client's order.
type ordered []struct {
	key   string
	value any
}

func (o ordered) MarshalJSON() ([]byte, error) {
	m := map[string]any{}
	for _, p := range o {
		m[p.key] = p.value
	}
	return json.Marshal(m)
}

// regroup is what the FormData of SDKs 3 and 4 does to the order of fields.
func regroup(fs []field) []field {
	var order []string
	byName := map[string][]field{}
	for _, f := range fs {
		if byName[f.name] == nil {
			order = append(order, f.name)
		}
		byName[f.name] = append(byName[f.name], f)
	}
	var out []field
	for _, name := range order {
		out = append(out, byName[name]...)
	}
	return out
}

// randomBindings makes valid bindings of all kinds that are served, their keys in any order.
func randomBindings(rng *rand.Rand) []any {
	var list []any
	for i := range 1 + rng.IntN(6) {
		b := ordered{}
		add := func(key string, value any) {
			b = append(b, struct {
				key   string
				value any
			}{key, value})
		}
		served := []string{"plain_text", "secret_text", "json", "kv_namespace", "service", "dispatch_namespace", "inherit", "version_metadata", "wasm_module"}
		typ := served[rng.IntN(len(served))]
		add("type", typ)
		add("name", fmt.Sprintf("B%d", i))
		for _, key := range slices.Sorted(maps.Keys(kinds[typ].fields)) {
			spec := kinds[typ].fields[key]
			if spec.use == optional && rng.IntN(3) > 0 {
				continue
			}
			switch {
			case key == "outbound":
				add(key, ordered{{"worker", ordered{{"service", fmt.Sprint("o", i)}}}, {"params", []any{ordered{{"name", "p"}}, ordered{{"name", "q"}}}}})
			case key == "props" || key == "json" && rng.IntN(2) == 0:
				add(key, ordered{{"a", i}, {"b", []any{true, "x"}}})
			case spec.shape == anything:
				add(key, rng.IntN(2) == 0)
			default:
				add(key, fmt.Sprintf("v%d", i))
			}
		}
		rng.Shuffle(len(b), func(i, j int) { b[i], b[j] = b[j], b[i] })
		list = append(list, b)
	}
	return list
}

// Whatever bindings a client takes apart, they are put together as they were, or refused. Nothing is ever given to
// another binding. In the order of SDK 7 nothing has to be refused, but that a binding's first key is one the binding
// before it lacks can hide a border: the clients' types begin with one that all have, so here keys start with type.
func TestUnbracket_neverMixesUp(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	refused := 0
	const rounds = 5000
	for range rounds {
		bs := randomBindings(rng)
		doc := ordered{{"main_module", "w"}, {"bindings", bs}, {"logpush", true}}
		want := normal(t, doc)
		fs := regroup(flatten("metadata", doc))
		raw, err := unbracket("metadata", fs)
		if err != nil {
			if !strings.Contains(err.Error(), "could belong to more than one element") {
				t.Fatalf("%v\n%s", err, want)
			}
			refused++
		} else if d := cmp.Diff(want, string(raw)); d != "" {
			t.Fatalf("grouped (-want +got)\n%s", d)
		}
		for _, b := range bs {
			keys := b.(ordered)
			slices.SortStableFunc(keys, func(a, b struct {
				key   string
				value any
			}) int {
				return strings.Compare(order(a.key), order(b.key))
			})
		}
		raw, err = unbracket("metadata", flatten("metadata", doc))
		if err != nil {
			t.Fatalf("in order: %v\n%s", err, want)
		}
		if d := cmp.Diff(want, string(raw)); d != "" {
			t.Fatalf("in order (-want +got)\n%s", d)
		}
	}
	if refused > rounds/2 {
		t.Errorf("%d of %d documents were refused", refused, rounds)
	}
}

func order(key string) string {
	if key == "type" || key == "name" {
		return ""
	}
	return key
}

func normal(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	if err := json.Unmarshal(raw, &tree); err != nil {
		t.Fatal(err)
	}
	raw, err = json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
