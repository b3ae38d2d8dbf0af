package d1

import (
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/d1/engine"
)

// What a body is made into is counted, however short its text is: a parameter is two bytes of it and fifty of memory.
func TestBodiesAreCounted(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{TotalMemory: 256 << 20})
	newDatabase(t, s, "one")
	zeros := `{"sql":"","params":[0` + strings.Repeat(",0", 100_000) + `]}`
	for name, c := range map[string]struct {
		body   string
		refuse bool
	}{
		"parameters": {"[" + zeros + strings.Repeat(","+zeros, 50) + "]", true},
		"queries":    {`{"batch":[{}` + strings.Repeat(",{}", 3_000_000) + `]}`, true},
		"statements": {`{"sql":"` + strings.Repeat("a;", 3_000_000) + `"}`, true},
		"blob":       {`{"sql":"","params":["\"[[",[0` + strings.Repeat(",0", 4_000_000) + `]]}`, false},
		"text":       {`{"sql":"","params":["` + strings.Repeat("[,", 4_000_000) + `"]}`, false},
		"batch":      {`[{"sql":"SELECT ?","params":[1]}` + strings.Repeat(`,{"sql":"SELECT ?","params":[1]}`, 10_000) + `]`, false},
	} {
		t.Run(name, func(t *testing.T) {
			before := heap()
			queries, done, err := s.ReadQueries(account, strings.NewReader(c.body), int64(len(c.body)), true)
			took := int64(heap()) - int64(before)
			if o := s.accounts[account].memory; c.refuse != errors.Is(err, errMemory) || err == nil && o.Used()+2*freeBody < took {
				t.Errorf("%d queries, %v; %d bytes are counted of %d", len(queries), err, o.Used(), took)
			}
			runtime.KeepAlive(queries)
			done()
			if n := s.accounts[account].memory.Used(); n != 0 {
				t.Errorf("%d bytes are still counted", n)
			}
		})
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

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
