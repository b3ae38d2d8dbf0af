package wire

import "encoding/json"

// Secret is a secret binding. Text and the fields of a key are in requests only: no answer has a secret's value.
type Secret struct {
	Name      string          `json:"name"`
	Type      string          `json:"type"`           // "secret_text" or "secret_key"
	Text      string          `json:"text,omitempty"` // of a secret_text
	Algorithm json.RawMessage `json:"algorithm,omitempty"`
	Format    string          `json:"format,omitempty"` // of a secret_key: "raw", "pkcs8", "spki" or "jwk"
	Usages    []string        `json:"usages,omitempty"`
	KeyBase64 string          `json:"key_base64,omitempty"`
	KeyJWK    json.RawMessage `json:"key_jwk,omitempty"`
}

// SecretsBulk changes many secrets at once (PATCH .../secrets-bulk, a JSON merge patch as in RFC 7396): nil deletes, a
// value sets, an absent name stays.
type SecretsBulk struct {
	Secrets map[string]*Secret `json:"secrets"`
}
