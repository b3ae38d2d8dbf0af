package binding

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestOutboundOfABinding(t *testing.T) {
	var f fields
	if err := json.Unmarshal([]byte(`{"namespace":"n","outbound":{"worker":{"service":"guard","entrypoint":"E"},"params":[{"name":"a"},{"name":"b"}]}}`), &f); err != nil {
		t.Fatal(err)
	}
	options := map[string]json.RawMessage{"a": json.RawMessage(`{"x":1}`), "undeclared": json.RawMessage(`1`)}
	out, err := f.outbound("acct", options)
	if err != nil || out.Worker.String() != "guard" || out.Worker.Account != "acct" || out.Entrypoint != "E" {
		t.Errorf("%+v, %v", out, err)
	}
	if len(out.Params) != 1 || string(out.Params["a"]) != `{"x":1}` {
		t.Errorf("parameters %s", out.Params)
	}
	if out, err := f.outbound("acct", nil); err != nil || out.Params == nil || len(out.Params) != 0 {
		t.Errorf("without options: %+v, %v", out, err)
	}
	options["b"] = json.RawMessage(`"` + strings.Repeat("x", maxParams) + `"`)
	if _, err := f.outbound("acct", options); err != errParams {
		t.Errorf("too large: %v", err)
	}
}
