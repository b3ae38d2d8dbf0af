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

// KVPair is one pair of a bulk write. ExpirationTTL counts seconds from now, and wins over Expiration; each is a number
// or absent.
type KVPair struct {
	Key           string          `json:"key"`
	Value         *string         `json:"value"`
	Base64        bool            `json:"base64,omitempty"` // the value is base64
	Expiration    json.Number     `json:"expiration,omitempty"`
	ExpirationTTL json.Number     `json:"expiration_ttl,omitempty"`
	Metadata      json.RawMessage `json:"metadata,omitempty"`
}

// KVBulk is the answer to a bulk write or delete.
type KVBulk struct {
	SuccessfulKeyCount int      `json:"successful_key_count"`
	UnsuccessfulKeys   []string `json:"unsuccessful_keys"`
}

// KVValues is the answer to a bulk read: values by key, null for keys that hold nothing.
type KVValues struct {
	Values json.RawMessage `json:"values"`
}
