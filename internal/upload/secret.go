package upload

import (
	"encoding/json"
	"fmt"
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
	return parseChanges(patch)
}

// VersionPatch is what a new version has that is otherwise as the newest.
type VersionPatch struct {
	Secrets     []SecretChange
	Annotations map[string]string
}

// ParseVersionPatch reads the body of PATCH workers/{name}/versions/latest, a JSON merge patch of a version:
// {"env": {"A": {"type": "secret_text", "text": "..."}, "B": null}, "annotations": {"workers/message": "..."}}. Secrets are what
// wrangler versions secret changes so; whatever else a version has comes with an upload.
func ParseVersionPatch(body []byte) (VersionPatch, error) {
	d := document{root: "version"}
	if json.Unmarshal(body, &d.obj) != nil || d.obj == nil {
		return VersionPatch{}, fault.New(fault.Invalid, 10026, "could not parse the request body: it must be a JSON object")
	}
	out := VersionPatch{Annotations: d.annotations()}
	_, env := d.object("env")
	for _, key := range slices.Sorted(maps.Keys(d.obj)) {
		d.wrong(key, "left out: env and annotations can be patched, the rest comes with an upload")
	}
	if len(env.obj) > MaxSecrets {
		d.wrong("env", fmt.Sprintf("of at most %d secrets", MaxSecrets))
	}
	if d.err != nil {
		return VersionPatch{}, d.err
	}
	var err error
	out.Secrets, err = parseChanges(env.obj)
	return out, err
}

func parseChanges(patch map[string]json.RawMessage) ([]SecretChange, error) {
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
