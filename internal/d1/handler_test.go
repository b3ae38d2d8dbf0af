package d1

import (
	"encoding/json"
	"testing"

	"atoll.dev/atoll/internal/d1/engine"
)

// FuzzQueries reads anything as the body of a call.
func FuzzQueries(f *testing.F) {
	for _, s := range []string{`{"sql":"SELECT ?","params":[1,"a",null,[1,2,255],true]}`, `[{"sql":"a"},{"sql":"b"}]`, `{"batch":[{"sql":"a"}]}`, `{"params":[[256]]}`, `{"params":[{}]}`, `[`, `{"params":[[1.5,-1,"a"]]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		queries, err := parseQueries(text, true)
		if err != nil {
			return
		}
		if !json.Valid(text) {
			t.Errorf("%q was read as %v", text, queries)
		}
		for _, q := range queries {
			for _, p := range q.Params {
				if p.Kind == engine.Blob && p.Blob == nil {
					t.Errorf("%q: a blob without bytes", text)
				}
			}
		}
	})
}
