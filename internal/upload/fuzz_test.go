package upload

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/fault"
)

// small keeps a fuzzer's round short.
var small = Limits{Body: 1 << 16, Metadata: 1 << 14, Parts: 200, Modules: 20, Plain: 1 << 15, Compressed: 1 << 14}

// checkErr fails for an error that is not of the client's making: the bytes are all there is.
func checkErr(t *testing.T, err error) {
	t.Helper()
	if f := fault.Of(err); f == nil || f.Kind == fault.Internal || f.Message == "" {
		t.Errorf("the error is no fault: %v", err)
	}
}

func checkMetadata(t *testing.T, md *Metadata) {
	t.Helper()
	seen := map[string]bool{}
	for _, b := range md.Bindings {
		var obj map[string]json.RawMessage
		if err := json.Unmarshal(b.Fields, &obj); err != nil {
			t.Errorf("fields of binding %q: %v", b.Name, err)
		}
		if seen[b.Name] || asString(obj["name"]) != b.Name || asString(obj["type"]) != b.Type {
			t.Errorf("binding %q has the fields %s", b.Name, b.Fields)
		}
		if obj["text"] != nil && b.Type == "secret_text" || obj["key_base64"] != nil || obj["key_jwk"] != nil && b.Type == "secret_key" {
			t.Errorf("binding %q shows its secret: %s", b.Name, b.Fields)
		}
		seen[b.Name] = true
	}
	for _, raw := range []json.RawMessage{md.Observability, md.Placement, md.TailConsumers} {
		if raw != nil && !json.Valid(raw) {
			t.Errorf("not JSON: %s", raw)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, r := range recordings(f) {
		f.Add(r.header.Get("Content-Type"), r.body)
	}
	for _, c := range readings {
		f.Add(c.contentType, []byte(c.body))
	}
	f.Fuzz(func(t *testing.T, contentType string, data []byte) {
		up, err := Read(contentType, nil, bytes.NewReader(data), small)
		if err != nil {
			checkErr(t, err)
			return
		}
		checkMetadata(t, &up.Metadata)
		entry, seen := up.Metadata.MainModule+up.Metadata.BodyPart, map[string]bool{}
		for _, m := range up.Modules {
			if seen[m.Name] || m.Name == "" || m.Type == "" {
				t.Errorf("module %q of type %q", m.Name, m.Type)
			}
			seen[m.Name] = true
		}
		if up.HasModules != (len(up.Modules) > 0) || up.HasModules && !seen[entry] {
			t.Errorf("the entry %q is not among %v", entry, seen)
		}
	})
}

func FuzzMetadata(f *testing.F) {
	f.Add(`{"main_module":"w","bindings":[{"type":"secret_text","name":"A","text":"x"}],"tags":["a"],"limits":{"cpu_ms":1},"migrations":{"steps":[{"new_classes":["A"]}]}}`)
	f.Add(`{"bindings":[{"type":"dispatch_namespace","name":"D","namespace":"n","outbound":{"worker":{"service":"o"},"params":["p"]}}]}`)
	f.Add(`{"bindings":[{"type":"secret_key","name":"K","algorithm":"x","format":"jwk","usages":[],"key_jwk":{}}],"observability":{"logs":{}}}`)
	f.Fuzz(func(t *testing.T, raw string) {
		for _, root := range []string{"metadata", "settings"} {
			md, err := parseMetadata(root, json.RawMessage(raw), small.WithDefaults())
			if err != nil {
				checkErr(t, err)
				continue
			}
			checkMetadata(t, md)
		}
		if b, err := ParseSecret([]byte(raw)); err == nil && (b.Secret == nil || !isSecret(b.Type)) {
			t.Errorf("a secret without a value: %+v", b)
		}
		_, _ = ParseSecrets([]byte(raw)) // must not panic
		if p, err := ParseVersionPatch([]byte(raw)); err != nil {
			checkErr(t, err)
		} else if len(p.Secrets) > MaxSecrets {
			t.Errorf("%d secrets at once", len(p.Secrets))
		}
	})
}

func FuzzUnbracket(f *testing.F) {
	f.Add("[a]=1 [b][]=2 [b][]=3")
	f.Add("[bindings][][type]=plain_text [bindings][][type]=service [bindings][][name]=A [bindings][][name]=B [bindings][][text]=x [bindings][][service]=s")
	f.Add("[bindings][][type]=json [bindings][][name]=A [bindings][][json][a][][b]=1 [bindings][][type]=plain_text")
	f.Fuzz(func(t *testing.T, lines string) {
		fields := fieldsOf(strings.ToValidUTF8(lines, "?"))
		raw, err := unbracket("metadata", fields)
		if err != nil {
			checkErr(t, err)
			return
		}
		var tree any
		if err := json.Unmarshal(raw, &tree); err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		if n := leavesOf(tree); n != len(fields) {
			t.Errorf("%d fields became %d values: %s", len(fields), n, raw)
		}
	})
}

// leavesOf counts the values of a document; no field may be lost.
func leavesOf(v any) (n int) {
	switch v := v.(type) {
	case map[string]any:
		for _, inner := range v {
			n += leavesOf(inner)
		}
	case []any:
		for _, inner := range v {
			n += leavesOf(inner)
		}
	default:
		n = 1
	}
	return n
}
