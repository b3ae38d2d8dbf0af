package upload

import (
	"encoding/json"
	"maps"
	"slices"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
)

// MaxSecrets is how many secrets one bulk request may change
// (https://developers.cloudflare.com/workers/wrangler/commands/#secret-bulk).
const MaxSecrets = 100

// ParseSecret reads the body of PUT scripts/{name}/secrets: a binding of type secret_text (which may go without saying)
// or secret_key, with its value. Its size is CheckBindings' matter.
func ParseSecret(body []byte) (atoll.Binding, error) {
	return parseSecret("", body)
}

// SecretChange is one secret of a bulk request: a new value, or nil to delete it.
type SecretChange struct {
	Name   string
	Secret *atoll.Binding
}

// ParseSecrets reads the body of PATCH scripts/{name}/secrets-bulk, a JSON merge patch (RFC 7396) of the script's
// secrets by name: {"secrets": {"A": {"name": "A", "text": "...", "type": "secret_text"}, "B": null}}.
func ParseSecrets(body []byte) ([]SecretChange, error) {
	var doc map[string]json.RawMessage
	var patch map[string]json.RawMessage
	if json.Unmarshal(body, &doc) != nil || json.Unmarshal(doc["secrets"], &patch) != nil || patch == nil {
		return nil, fault.New(fault.Invalid, 10026, "could not parse the request body: it must be a JSON object with an object secrets")
	}
	if len(patch) > MaxSecrets {
		return nil, fault.Newf(fault.Invalid, 10021, "too many secrets: at most %d can be changed at once", MaxSecrets)
	}
	changes := make([]SecretChange, 0, len(patch))
	for _, name := range slices.Sorted(maps.Keys(patch)) {
		c := SecretChange{Name: name}
		if !isNull(patch[name]) {
			b, err := parseSecret(name, patch[name])
			if err != nil {
				return nil, err
			}
			c.Secret = &b
		}
		changes = append(changes, c)
	}
	return changes, nil
}

// parseSecret reads one secret; name is the key it stands under, "" where it names itself alone.
func parseSecret(name string, raw json.RawMessage) (atoll.Binding, error) {
	var obj map[string]json.RawMessage
	if json.Unmarshal(raw, &obj) != nil || obj == nil {
		return atoll.Binding{}, fault.New(fault.Invalid, 10026, "could not parse the request body: a secret must be a JSON object")
	}
	if obj["type"] == nil {
		obj["type"] = json.RawMessage(`"secret_text"`)
	}
	if name != "" && obj["name"] == nil {
		obj["name"] = encode(name)
	}
	if typ := asString(obj["type"]); !isSecret(typ) {
		return atoll.Binding{}, fault.Newf(fault.Invalid, 10021, "a secret must be of type secret_text or secret_key, not %q", typ)
	}
	b, err := parseBinding("secret", 0, encode(obj))
	if err != nil {
		return atoll.Binding{}, err
	}
	if name != "" && b.Name != name {
		return atoll.Binding{}, fault.Newf(fault.Invalid, 10021, "the secret under the key %q is named %q", name, b.Name)
	}
	return b, nil
}
