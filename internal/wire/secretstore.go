package wire

import "time"

// SecretStore is a store of secrets.
type SecretStore struct {
	ID        string    `json:"id"`
	AccountID string    `json:"account_id"`
	Name      string    `json:"name"`
	Created   time.Time `json:"created"`
	Modified  time.Time `json:"modified"`
}

// StoredSecret is a secret of a store, without its value.
type StoredSecret struct {
	ID       string    `json:"id"`
	StoreID  string    `json:"store_id"`
	Name     string    `json:"name"`
	Comment  string    `json:"comment"`
	Scopes   []string  `json:"scopes"`
	Status   string    `json:"status"` // "active"
	Created  time.Time `json:"created"`
	Modified time.Time `json:"modified"`
}

// StoredSecretChange is the body that makes, changes or duplicates a secret of a store.
type StoredSecretChange struct {
	Name    string   `json:"name,omitempty"`
	Value   *string  `json:"value,omitempty"`
	Comment *string  `json:"comment,omitempty"`
	Scopes  []string `json:"scopes,omitempty"`
}

// SecretStoreQuota is how many secrets an account's stores may have.
type SecretStoreQuota struct {
	Secrets struct {
		Quota int `json:"quota"`
		Usage int `json:"usage"`
	} `json:"secrets"`
}
