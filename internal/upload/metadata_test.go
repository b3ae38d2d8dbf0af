package upload

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
)

// oneLine takes the layout out of indented JSON.
func oneLine(s string) string {
	var b bytes.Buffer
	if json.Compact(&b, []byte(s)) != nil {
		return strings.TrimSpace(s)
	}
	return b.String()
}

// Every field of an upload's metadata: a good value comes through, a wrong one is an error that names the field.
func TestMetadata_fields(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"compatibility", `{"compatibility_date":"2024-01-01","compatibility_flags":["nodejs_compat"]}`, `{"CompatibilityDate":"2024-01-01","CompatibilityFlags":["nodejs_compat"]}`},
		{"limits", `{"limits":{"cpu_ms":50,"subrequests":10}}`, `{"Limits":{"cpu_ms":50,"subrequests":10}}`},
		{"limits-empty", `{"limits":{}}`, `{"Limits":{}}`},
		{"logpush", `{"logpush":false}`, `{"Logpush":false}`},
		{"placement", `{"placement":{"mode":"smart"}}`, `{"Placement":{"mode":"smart"}}`},
		{"usage-model", `{"usage_model":"unbound"}`, `{"UsageModel":"unbound"}`},
		{"observability", `{"observability":{"enabled":true,"head_sampling_rate":0.1,"logs":{"enabled":true,"invocation_logs":true,"persist":false,"destinations":["x"]},"traces":{"propagation_policy":"accept"}}}`,
			`{"Observability":{"enabled":true,"head_sampling_rate":0.1,"logs":{"destinations":["x"],"enabled":true,"invocation_logs":true,"persist":false},"traces":{"propagation_policy":"accept"}}}`},
		{"tags", `{"tags":["a","a","b"]}`, `{"Tags":["a","b"]}`},
		{"tags-none", `{"tags":[]}`, `{"Tags":[]}`},
		{"tail-consumers", `{"tail_consumers":[{"service":"t","environment":"e"}]}`, `{"TailConsumers":[{"environment":"e","service":"t"}]}`},
		{"migrations-single", `{"migrations":{"new_tag":"v1","new_classes":["A"]}}`, `{"Migrations":{"NewTag":"v1","Raw":{"new_classes":["A"],"new_tag":"v1"},"Steps":[{"New":["A"]}]}}`},
		{"migrations-steps", `{"migrations":{"old_tag":"v1","new_tag":"v2","steps":[{"renamed_classes":[{"from":"A","to":"B"}]}]}}`,
			`{"Migrations":{"NewTag":"v2","OldTag":"v1","Raw":{"new_tag":"v2","old_tag":"v1","steps":[{"renamed_classes":[{"from":"A","to":"B"}]}]},"Steps":[{"Renamed":[{"From":"A","To":"B"}]}]}}`},
		{"unknown-fields-are-kept", `{"exported_handlers":["fetch"],"cache_options":{"enabled":true},"whatever":null}`,
			`{"Extra":{"cache_options":{"enabled":true},"exported_handlers":["fetch"]}}`},
		{"null-is-not-sent", `{"tags":null,"bindings":null,"logpush":null,"observability":null,"assets":null,"keep_assets":null,"limits":null,"migrations":null}`, `{}`},
		{"case-counts", `{"Main_Module":"x","TAGS":["a"]}`, `{"Extra":{"Main_Module":"x","TAGS":["a"]}}`},
		{"annotation-cut-between-characters", `{"annotations":{"workers/message":"` + strings.Repeat("é", 501) + `"}}`, `{"Annotations":{"workers/message":"` + strings.Repeat("é", 500) + `"}}`},

		{"assets", `{"assets":{"jwt":"a.b.c","config":{"html_handling":"none","not_found_handling":"404-page","base_path":"/b","_headers":"h","_redirects":"r","run_worker_first":["/a"]}}}`,
			`{"Assets":{"Config":{"_headers":"h","_redirects":"r","base_path":"/b","html_handling":"none","not_found_handling":"404-page","run_worker_first_rules":["/a"]},"Token":"a.b.c"}}`},
		{"assets-without-config", `{"assets":{"jwt":"x"}}`, `{"Assets":{"Token":"x"}}`},
		{"worker-first", `{"assets":{"config":{"run_worker_first":true}}}`, `{"Assets":{"Config":{"run_worker_first":true}}}`},
		{"serve-directly", `{"assets":{"config":{"serve_directly":false}}}`, `{"Assets":{"Config":{"run_worker_first":true}}}`},
		{"keep-assets", `{"keep_assets":true}`, `{"KeepAssets":true}`},

		{"main-module-wrong", `{"main_module":1}`, "metadata.main_module must be a string"},
		{"date-wrong", `{"compatibility_date":"yesterday"}`, "metadata.compatibility_date must be a date like 2026-11-23"},
		{"date-impossible", `{"compatibility_date":"2024-02-30"}`, "metadata.compatibility_date must be a date like 2026-11-23"},
		{"flags-wrong", `{"compatibility_flags":"nodejs_compat"}`, "metadata.compatibility_flags must be an array of strings"},
		{"keep-bindings-wrong", `{"keep_bindings":true}`, "metadata.keep_bindings must be an array of strings"},
		{"limits-wrong", `{"limits":5}`, "metadata.limits must be an object"},
		{"cpu-wrong", `{"limits":{"cpu_ms":"5"}}`, "metadata.limits.cpu_ms must be a whole number from 1 to 300000"},
		{"cpu-too-much", `{"limits":{"cpu_ms":300001}}`, "metadata.limits.cpu_ms must be a whole number from 1 to 300000"},
		{"subrequests-zero", `{"limits":{"subrequests":0}}`, "metadata.limits.subrequests must be a whole number from 1 to 10000000"},
		{"logpush-wrong", `{"logpush":1}`, "metadata.logpush must be true or false"},
		{"observability-wrong", `{"observability":[]}`, "metadata.observability must be an object"},
		{"observability-inside", `{"observability":{"logs":{"enabled":"yes"}}}`, "metadata.observability.logs.enabled must be true or false"},
		{"sampling-wrong", `{"observability":{"head_sampling_rate":2}}`, "metadata.observability.head_sampling_rate must be a number from 0 to 1"},
		{"placement-wrong", `{"placement":{"mode":1}}`, "metadata.placement.mode must be a string"},
		{"usage-model-wrong", `{"usage_model":"free"}`, "metadata.usage_model must be standard, bundled or unbound"},
		{"tags-wrong", `{"tags":"a"}`, "metadata.tags must be an array of strings"},
		{"tags-forbidden", `{"tags":["a,b"]}`, `tag "a,b" is not valid: tags are 1 to 255 bytes without ',' and '&'`},
		{"tags-too-many", `{"tags":["1","2","3","4","5","6","7","8","9"]}`, "too many tags: 9, at most 8 are allowed"},
		{"tail-consumers-wrong", `{"tail_consumers":[{}]}`, "metadata.tail_consumers must be an array of objects with a service"},
		{"annotations-wrong", `{"annotations":{"workers/message":1}}`, "metadata.annotations must be an object of at most 32 strings"},
		{"migrations-wrong", `{"migrations":[]}`, "metadata.migrations must be an object"},
		{"migrations-class-wrong", `{"migrations":{"new_classes":[1]}}`, "metadata.migrations.new_classes must be an array of strings"},
		{"migrations-step-wrong", `{"migrations":{"steps":[{"renamed_classes":[{"from":"A"}]}]}}`, "metadata.migrations.steps.renamed_classes must be an array of objects with from and to"},
		{"exports-wrong", `{"exports":[]}`, "metadata.exports must be an object"},
		{"bindings-wrong", `{"bindings":{}}`, "metadata.bindings must be an array of objects"},
		{"assets-wrong", `{"assets":true}`, "metadata.assets must be an object"},
		{"assets-token-wrong", `{"assets":{"jwt":1}}`, "metadata.assets.jwt must be a string"},
		{"assets-config-wrong", `{"assets":{"config":[]}}`, "metadata.assets.config must be an object"},
		{"assets-headers-wrong", `{"assets":{"config":{"_headers":{}}}}`, "metadata.assets.config._headers must be a string"},
		{"worker-first-wrong", `{"assets":{"config":{"run_worker_first":"/x"}}}`, "metadata.assets.config.run_worker_first must be true, false or an array of strings"},
		{"worker-first-empty", `{"assets":{"config":{"run_worker_first":[]}}}`, "No `run_worker_first` rules were provided; must provide at least 1 rule."},
		{"keep-assets-wrong", `{"keep_assets":"yes"}`, "metadata.keep_assets must be true or false"},
	} {
		t.Run(c.name, func(t *testing.T) {
			md, err := parseMetadata("metadata", json.RawMessage(c.in), Limits{}.WithDefaults())
			got := oneLine(show(md, err))
			got = strings.TrimPrefix(got, "error invalid 10021: ")
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// Every type of binding: what it must have, and what becomes of it.
func TestMetadata_bindings(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"plain-text", `[{"type":"plain_text","name":"A","text":""}]`, `plain_text {"name":"A","text":"","type":"plain_text"}`},
		{"secret-text", `[{"type":"secret_text","name":"A","text":"s3"}]`, `secret_text {"name":"A","type":"secret_text"} "s3"`},
		{"secret-text-empty", `[{"type":"secret_text","name":"A","text":""}]`, `secret_text {"name":"A","type":"secret_text"} ""`},
		{"secret-key", `[{"type":"secret_key","name":"A","algorithm":{"name":"HMAC"},"format":"raw","usages":["sign"],"key_base64":"AAE="}]`,
			`secret_key {"algorithm":{"name":"HMAC"},"format":"raw","name":"A","type":"secret_key","usages":["sign"]} "AAE="`},
		{"secret-key-pkcs8", `[{"type":"secret_key","name":"A","algorithm":"x","format":"pkcs8","usages":[],"key_base64":"AAE="}]`,
			`secret_key {"algorithm":"x","format":"pkcs8","name":"A","type":"secret_key","usages":[]} "-----BEGIN PRIVATE KEY-----\nAAE=\n-----END PRIVATE KEY-----\n"`},
		{"secret-key-jwk", `[{"type":"secret_key","name":"A","algorithm":"HMAC","format":"jwk","usages":[],"key_jwk":{"k":"x"}}]`,
			`secret_key {"algorithm":"HMAC","format":"jwk","name":"A","type":"secret_key","usages":[]} "{\"k\":\"x\"}"`},
		{"json", `[{"type":"json","name":"A","json":{"x":["<"]}}]`, `json {"json":{"x":["<"]},"name":"A","type":"json"}`},
		{"json-null", `[{"type":"json","name":"A","json":null}]`, `json {"json":null,"name":"A","type":"json"}`},
		{"kv", `[{"type":"kv_namespace","name":"A","namespace_id":"x"}]`, `kv_namespace {"name":"A","namespace_id":"x","type":"kv_namespace"}`},
		{"service", `[{"type":"service","name":"A","service":"s","environment":null,"entrypoint":"E","props":{"a":1}}]`, `service {"entrypoint":"E","name":"A","props":{"a":1},"service":"s","type":"service"}`},
		{"version-metadata", `[{"type":"version_metadata","name":"A"}]`, `version_metadata {"name":"A","type":"version_metadata"}`},
		{"inherit", `[{"type":"inherit","name":"A","old_name":"B"}]`, `inherit {"name":"A","old_name":"B","type":"inherit"}`},
		{"wasm", `[{"type":"wasm_module","name":"A","part":"p"}]`, `wasm_module {"name":"A","part":"p","type":"wasm_module"}`},
		{"dispatch", `[{"type":"dispatch_namespace","name":"A","namespace":"n"}]`, `dispatch_namespace {"name":"A","namespace":"n","type":"dispatch_namespace"}`},
		{"dispatch-outbound", `[{"type":"dispatch_namespace","name":"A","namespace":"n","outbound":{"worker":{"service":"o"},"params":["p",{"name":"q"}]}}]`,
			`dispatch_namespace {"name":"A","namespace":"n","outbound":{"params":[{"name":"p"},{"name":"q"}],"worker":{"service":"o"}},"type":"dispatch_namespace"}`},
		{"unknown-field-is-kept", `[{"type":"plain_text","name":"A","text":"x","note":[1]}]`, `plain_text {"name":"A","note":[1],"text":"x","type":"plain_text"}`},

		{"no-name", `[{"type":"plain_text","text":"x"}]`, "10052: binding 1 must have a name"},
		{"name-no-string", `[{"name":1}]`, "10052: binding 1 must have a name"},
		{"name-control", `[{"name":"a\u0000","type":"json","json":1}]`, `10021: binding name "a\x00" is not valid: names are at most 255 bytes without control characters`},
		{"no-type", `[{"name":"A"}]`, "10021: binding A must have a valid `type` specified"},
		{"unknown-type", `[{"name":"A","type":"teapot"}]`, `10021: binding A has the unknown type "teapot"`},
		{"not-served", `[{"name":"DB","type":"vectorize","index_name":"x"}]`, "10021: binding DB of type vectorize is not supported by this node yet"},
		{"durable-objects", `[{"name":"DO","type":"durable_object_namespace","class_name":"x"}]`, `durable_object_namespace {"class_name":"x","name":"DO","type":"durable_object_namespace"}`},
		{"missing-field", `[{"name":"KV","type":"kv_namespace"}]`, "10021: binding KV of type kv_namespace must have a valid `namespace_id` specified"},
		{"empty-field", `[{"name":"KV","type":"kv_namespace","namespace_id":""}]`, "10021: binding KV of type kv_namespace must have a valid `namespace_id` specified"},
		{"wrong-field", `[{"name":"A","type":"plain_text","text":5}]`, "10021: binding A of type plain_text must have a valid `text` specified"},
		{"json-missing", `[{"name":"A","type":"json"}]`, "10021: binding A of type json must have a valid `json` specified"},
		{"secret-missing", `[{"name":"A","type":"secret_text"}]`, "10021: binding A of type secret_text must have a valid `text` specified"},
		{"key-format", `[{"name":"A","type":"secret_key","algorithm":"x","format":"pem","usages":[]}]`, `10021: binding A of type secret_key has the unknown format "pem": it must be raw, pkcs8, spki or jwk`},
		{"key-base64", `[{"name":"A","type":"secret_key","algorithm":"x","format":"raw","usages":[],"key_base64":"?"}]`, "10021: binding A of type secret_key must have a valid `key_base64` specified"},
		{"key-jwk", `[{"name":"A","type":"secret_key","algorithm":"x","format":"jwk","usages":[],"key_base64":"AA=="}]`, "10021: binding A of type secret_key must have a valid `key_jwk` specified"},
		{"key-usages", `[{"name":"A","type":"secret_key","algorithm":"x","format":"raw","usages":[1],"key_base64":"AA=="}]`, "10021: binding A of type secret_key must have a valid `usages` specified"},
		{"key-algorithm", `[{"name":"A","type":"secret_key","algorithm":1,"format":"raw","usages":[],"key_base64":"AA=="}]`, "10021: binding A of type secret_key must have a valid `algorithm` specified"},
		{"outbound-without-worker", `[{"name":"D","type":"dispatch_namespace","namespace":"n","outbound":{}}]`, "10021: binding D of type dispatch_namespace must have a valid `outbound.worker.service` specified"},
		{"outbound-params", `[{"name":"D","type":"dispatch_namespace","namespace":"n","outbound":{"worker":{"service":"o"},"params":[1]}}]`, "10021: binding D of type dispatch_namespace must have a valid `outbound.params` specified"},
		{"props-binding", `[{"name":"S","type":"service","service":"s","props":{"x":1,"DB":{"$binding":{"type":"d1"}}}}]`, "10021: binding S of type service has the custom binding DB in its props, which is not supported by this node yet"},
		{"name-twice", `[{"name":"A","type":"json","json":1},{"name":"A","type":"json","json":1}]`, "10053: Binding name 'A' already in use. Please use a different name and try again."},
		{"variable-too-large", `[{"name":"A","type":"plain_text","text":"` + strings.Repeat("<", 5121) + `"}]`, "10054: Binding 'A' is too large: the value of a variable or secret is at most 5120 bytes."},
		{"variable-as-large-as-may-be", `[{"name":"A","type":"json","json":"` + strings.Repeat("<", 5118) + `"}]`, `json {"json":"` + strings.Repeat("<", 5118) + `","name":"A","type":"json"}`},
		{"secret-too-large", `[{"name":"A","type":"secret_text","text":"` + strings.Repeat("x", 5121) + `"}]`, "10054: Binding 'A' is too large: the value of a variable or secret is at most 5120 bytes."},
		{"too-many-variables", `[` + strings.TrimSuffix(strings.Repeat(`{"name":"#","type":"plain_text","text":""},`, 129), ",") + `]`, "10055: Too many variables and secrets: a Worker has at most 128."},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := c.in
			for i := 0; strings.Contains(in, "#"); i++ {
				in = strings.Replace(in, "#", "V"+string(encode(i)), 1)
			}
			got := ""
			bs, err := parseBindings("metadata", json.RawMessage(in), Limits{}.WithDefaults())
			switch f := fault.Of(err); {
			case f != nil:
				got = string(encode(f.Code)) + ": " + err.Error()
			case len(bs) == 1:
				got = bs[0].Type + " " + string(bs[0].Fields)
				if bs[0].Secret != nil {
					got += " " + quote(bs[0].Secret)
				}
			}
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestParseSecret(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"text", `{"name":"A","text":"v","type":"secret_text"}`, `secret_text A "v"`},
		{"type-goes-without-saying", `{"name":"A","text":"v"}`, `secret_text A "v"`},
		{"key", `{"name":"A","type":"secret_key","algorithm":"HMAC","format":"raw","usages":["sign"],"key_base64":"AA=="}`, `secret_key A "AA=="`},
		{"no-value", `{"name":"A"}`, "binding A of type secret_text must have a valid `text` specified"},
		{"no-name", `{"text":"v"}`, "binding 1 must have a name"},
		{"other-type", `{"name":"A","type":"plain_text","text":"v"}`, `a secret must be of type secret_text or secret_key, not "plain_text"`},
		{"no-object", `"x"`, "could not parse the request body: a secret must be a JSON object"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := ParseSecret([]byte(c.in))
			if got := describe(b, err); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestParseSecrets(t *testing.T) {
	got, err := ParseSecrets([]byte(`{"secrets":{"B":null,"A":{"name":"A","text":"v","type":"secret_text"},"C":{"text":"w"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || describe(*got[0].Secret, nil) != `secret_text A "v"` || got[1].Name != "B" || got[1].Secret != nil || describe(*got[2].Secret, nil) != `secret_text C "w"` {
		t.Errorf("got %+v", got)
	}
	for _, bad := range []string{``, `[]`, `{}`, `{"secrets":[]}`, `{"secrets":null}`, `{"secrets":{"A":{"name":"B","text":"v"}}}`, `{"secrets":{"A":1}}`,
		`{"secrets":{` + manySecrets(101) + `}}`} {
		if _, err := ParseSecrets([]byte(bad)); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%.60s: %v", bad, err)
		}
	}
}

func TestParseVersionPatch(t *testing.T) {
	got, err := ParseVersionPatch([]byte(`{"env":{"B":null,"A":{"text":"v","type":"secret_text"}},"annotations":{"workers/message":"m","workers/tag":null}}`))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Secrets) != 2 || describe(*got.Secrets[0].Secret, nil) != `secret_text A "v"` || got.Secrets[1].Secret != nil || len(got.Annotations) != 1 {
		t.Errorf("got %+v", got)
	}
	for _, bad := range []string{``, `[]`, `null`, `{"env":[]}`, `{"env":{"A":1}}`, `{"env":{"A":{"type":"plain_text","text":"v"}}}`, `{"annotations":1}`,
		`{"compatibility_date":"2026-01-01"}`, `{"env":{` + manySecrets(101) + `}}`} {
		if _, err := ParseVersionPatch([]byte(bad)); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%.60s: %v", bad, err)
		}
	}
}

func manySecrets(n int) string {
	var list []string
	for i := range n {
		list = append(list, `"S`+string(encode(i))+`":null`)
	}
	return strings.Join(list, ",")
}

func describe(b atoll.Binding, err error) string {
	if err != nil {
		return err.Error()
	}
	return b.Type + " " + b.Name + " " + quote(b.Secret)
}

func quote(b []byte) string { return strconv.Quote(string(b)) }
