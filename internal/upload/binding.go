package upload

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"unicode"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
)

// parseBindings reads a list of bindings. root says which document they are in: only in settings may a secret come
// without its value.
func parseBindings(root string, raw json.RawMessage, lim Limits) ([]atoll.Binding, error) {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return nil, wrongField(root, "bindings", "an array of objects")
	}
	out := make([]atoll.Binding, 0, len(list))
	for i, item := range list {
		b, err := parseBinding(root, i, item)
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, CheckBindings(out, lim)
}

func parseBinding(root string, i int, raw json.RawMessage) (atoll.Binding, error) {
	var obj map[string]json.RawMessage
	if json.Unmarshal(raw, &obj) != nil || obj == nil {
		return atoll.Binding{}, wrongField(root, "bindings", "an array of objects")
	}
	var b atoll.Binding
	if json.Unmarshal(obj["name"], &b.Name) != nil || b.Name == "" {
		return b, fault.Newf(fault.Invalid, 10052, "binding %d must have a name", i+1)
	}
	if strings.ContainsFunc(b.Name, unicode.IsControl) || len(b.Name) > 255 {
		return b, fault.Newf(fault.Invalid, 10021, "binding name %q is not valid: names are at most 255 bytes without control characters", b.Name)
	}
	if json.Unmarshal(obj["type"], &b.Type) != nil || b.Type == "" {
		return b, fault.Newf(fault.Invalid, 10021, "binding %s must have a valid `type` specified", b.Name)
	}
	if err := servedType(b.Name, b.Type); err != nil {
		return b, err
	}
	if err := checkFields(b, obj, root == "settings"); err != nil {
		return b, err
	}
	if err := takeSpecial(&b, obj, root == "settings"); err != nil {
		return b, err
	}
	b.Fields = encode(obj)
	return b, nil
}

// encode returns v, which is made of parsed JSON, as JSON; unlike json.Marshal it leaves < > & as they are, so that a
// value's size is that of the value sent.
func encode(v any) json.RawMessage {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // parsed JSON into memory: cannot fail
	return bytes.TrimSpace(buf.Bytes())
}

// checkFields checks the shape of each field that the binding's type has.
func checkFields(b atoll.Binding, obj map[string]json.RawMessage, keepsSecrets bool) error {
	for name, spec := range kinds[b.Type].fields {
		raw, there := obj[name]
		if !there || isNull(raw) && spec.shape != anything {
			delete(obj, name)
			if spec.use == required && !(keepsSecrets && isSecret(b.Type)) {
				return badField(b, name)
			}
			continue
		}
		if !hasShape(raw, spec.shape) {
			return badField(b, name)
		}
	}
	return nil
}

// takeSpecial checks what the shapes of fields do not tell, and moves secret values out of obj.
func takeSpecial(b *atoll.Binding, obj map[string]json.RawMessage, keepsSecrets bool) error {
	switch b.Type {
	case "secret_text":
		if raw, ok := obj["text"]; ok {
			b.Secret = []byte(asString(raw))
			delete(obj, "text")
		}
	case "secret_key":
		if keepsSecrets && obj["key_base64"] == nil && obj["key_jwk"] == nil {
			return nil
		}
		return takeKey(b, obj)
	case "dispatch_namespace":
		return checkOutbound(*b, obj)
	case "service":
		return checkProps(*b, obj)
	case "r2_bucket":
		if j := asString(obj["jurisdiction"]); j != "" && j != "default" {
			return fault.Newf(fault.Invalid, 10021, "binding %s of type r2_bucket: this node has no jurisdictions, and so none %q", b.Name, j)
		}
	}
	return nil
}

// CheckBindings checks what must hold of all bindings of a version together: no name twice, and the number and size of
// variables and secrets.
func CheckBindings(bs []atoll.Binding, lim Limits) error {
	lim = lim.WithDefaults()
	seen, variables := map[string]bool{}, 0
	for _, b := range bs {
		if seen[b.Name] {
			return fault.Newf(fault.Invalid, 10053, "Binding name '%s' already in use. Please use a different name and try again.", b.Name)
		}
		seen[b.Name] = true
		size, ok := variableSize(b)
		if !ok {
			continue
		}
		if size > lim.VariableBytes {
			return fault.Newf(fault.Invalid, 10054, "Binding '%s' is too large: the value of a variable or secret is at most %d bytes.", b.Name, lim.VariableBytes)
		}
		if variables++; variables > lim.Variables {
			return fault.Newf(fault.Invalid, 10055, "Too many variables and secrets: a Worker has at most %d.", lim.Variables)
		}
	}
	return nil
}

// variableSize returns the bytes of a variable's or secret's value, and whether b is one.
func variableSize(b atoll.Binding) (int, bool) {
	var v struct {
		Text string          `json:"text"`
		JSON json.RawMessage `json:"json"`
	}
	switch b.Type {
	case "secret_text", "secret_key":
		return len(b.Secret), true
	case "plain_text", "json":
		if err := json.Unmarshal(b.Fields, &v); err != nil {
			return 0, false // never: Fields is made from parsed JSON
		}
		return max(len(v.Text), len(v.JSON)), true
	}
	return 0, false
}

// takeKey moves a secret_key's key material into b.Secret, in the form that workerd's configuration wants it: base64 of a
// raw key, PEM (RFC 7468) of pkcs8 and spki, JSON of a JSON Web Key
// (https://developer.mozilla.org/docs/Web/API/SubtleCrypto/importKey).
func takeKey(b *atoll.Binding, obj map[string]json.RawMessage) error {
	var usages []string
	if obj["usages"] != nil && json.Unmarshal(obj["usages"], &usages) != nil {
		return badField(*b, "usages")
	}
	if alg := bytes.TrimSpace(obj["algorithm"]); len(alg) > 0 && alg[0] != '"' && alg[0] != '{' {
		return badField(*b, "algorithm")
	}
	key, jwk := obj["key_base64"], obj["key_jwk"]
	delete(obj, "key_base64")
	delete(obj, "key_jwk")
	switch format := asString(obj["format"]); format {
	case "raw", "pkcs8", "spki":
		raw, err := base64.StdEncoding.DecodeString(asString(key))
		if err != nil || len(raw) == 0 {
			return badField(*b, "key_base64")
		}
		switch format {
		case "raw":
			b.Secret = []byte(base64.StdEncoding.EncodeToString(raw))
		case "pkcs8":
			b.Secret = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
		default:
			b.Secret = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: raw})
		}
	case "jwk":
		if jwk == nil {
			return badField(*b, "key_jwk")
		}
		b.Secret = bytes.Clone(jwk)
	default:
		return fault.Newf(fault.Invalid, 10021, "binding %s of type secret_key has the unknown format %q: it must be raw, pkcs8, spki or jwk", b.Name, format)
	}
	return nil
}

// checkOutbound checks a dispatch_namespace's outbound Worker and gives its params their one form, objects with a name;
// some clients send bare strings.
func checkOutbound(b atoll.Binding, obj map[string]json.RawMessage) error {
	if obj["outbound"] == nil {
		return nil
	}
	var out map[string]json.RawMessage
	var worker map[string]json.RawMessage
	if json.Unmarshal(obj["outbound"], &out) != nil {
		return badField(b, "outbound")
	}
	if json.Unmarshal(out["worker"], &worker) != nil || asString(worker["service"]) == "" {
		return badField(b, "outbound.worker.service")
	}
	for _, name := range []string{"environment", "entrypoint"} {
		if raw := worker[name]; raw != nil && !isNull(raw) && !hasShape(raw, anyText) {
			return badField(b, "outbound.worker."+name)
		}
	}
	if raw := out["params"]; raw != nil && !isNull(raw) {
		var params []json.RawMessage
		if json.Unmarshal(raw, &params) != nil {
			return badField(b, "outbound.params")
		}
		named := make([]map[string]string, len(params))
		for i, p := range params {
			name := asString(p)
			var obj struct{ Name string }
			if name == "" && json.Unmarshal(p, &obj) == nil {
				name = obj.Name
			}
			if name == "" {
				return badField(b, "outbound.params")
			}
			named[i] = map[string]string{"name": name}
		}
		out["params"] = encode(named)
	}
	obj["outbound"] = encode(out)
	return nil
}

// checkProps refuses the props of a service binding that stand for another binding ("$binding"), which need storage
// this node does not serve.
func checkProps(b atoll.Binding, obj map[string]json.RawMessage) error {
	var props map[string]json.RawMessage
	if obj["props"] != nil && json.Unmarshal(obj["props"], &props) != nil {
		return badField(b, "props")
	}
	for name, raw := range props {
		var prop map[string]json.RawMessage // a prop of any other form is the customer's own
		if json.Unmarshal(raw, &prop) == nil && prop["$binding"] != nil {
			return fault.Newf(fault.Invalid, 10021, "binding %s of type service has the custom binding %s in its props, which is not supported by this node yet", b.Name, name)
		}
	}
	return nil
}

func badField(b atoll.Binding, field string) error {
	return fault.Newf(fault.Invalid, 10021, "binding %s of type %s must have a valid `%s` specified", b.Name, b.Type, field)
}

func isSecret(typ string) bool { return typ == "secret_text" || typ == "secret_key" }

func isNull(raw json.RawMessage) bool { return string(bytes.TrimSpace(raw)) == "null" }

// asString returns the JSON string in raw, "" where it is anything else.
func asString(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// hasShape reports whether raw, which is valid JSON, is of the shape.
func hasShape(raw json.RawMessage, s shape) bool {
	raw = bytes.TrimSpace(raw)
	switch s {
	case text:
		return raw[0] == '"' && asString(raw) != ""
	case anyText:
		return raw[0] == '"'
	case number:
		return raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9'
	case boolean:
		return raw[0] == 't' || raw[0] == 'f'
	case object:
		return raw[0] == '{'
	case array:
		return raw[0] == '['
	}
	return true
}

// BlobPart returns the name of the module that a text_blob, data_blob or wasm_module binding is to.
func BlobPart(b atoll.Binding) string { return StringField(b, "part") }

// StringField returns a field of the binding, "" where it is missing or no string.
func StringField(b atoll.Binding, name string) string {
	var obj map[string]json.RawMessage
	if json.Unmarshal(b.Fields, &obj) != nil {
		return ""
	}
	return asString(obj[name])
}
