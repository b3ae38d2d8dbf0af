package wire

import "encoding/json"

// KVNamespace is a namespace of the key-value store.
type KVNamespace struct {
	ID                  string `json:"id"`
	Title               string `json:"title"`
	SupportsURLEncoding bool   `json:"supports_url_encoding"`
}

// KVTitle is the body that makes or renames a KV namespace.
type KVTitle struct {
	Title string `json:"title"`
}

// KVKey is one key in a list of keys. Expiration is in seconds since 1970, 0 for never.
type KVKey struct {
	Name       string          `json:"name"`
	Expiration int64           `json:"expiration,omitempty"`
	Metadata   json.RawMessage `json:"metadata,omitempty"`
}
