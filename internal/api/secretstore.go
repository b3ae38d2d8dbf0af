package api

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"atoll.dev/atoll/internal/auth"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/store"
	"atoll.dev/atoll/internal/wire"
)

// secretStoreRoutes are those of the account's stores of secrets. No route answers with a value.
func secretStoreRoutes() []endpoint {
	const one, secret = secretStores + "/{store}", secretStores + "/{store}/secrets/{secret}"
	return []endpoint{
		{"GET", acct + "/secrets_store/quota", auth.AccountRead, (*API).secretStoreQuota},
		{"GET", secretStores, auth.AccountRead, (*API).listSecretStores},
		{"POST", secretStores, auth.AccountWrite, (*API).postSecretStore},
		{"GET", one, auth.AccountRead, (*API).getSecretStore},
		{"DELETE", one, auth.AccountWrite, (*API).deleteSecretStore},
		{"GET", one + "/secrets", auth.AccountRead, (*API).listStoredSecrets},
		{"POST", one + "/secrets", auth.AccountWrite, (*API).postStoredSecrets},
		{"DELETE", one + "/secrets", auth.AccountWrite, (*API).deleteStoredSecrets},
		{"GET", secret, auth.AccountRead, (*API).getStoredSecret},
		{"PATCH", secret, auth.AccountWrite, (*API).patchStoredSecret},
		{"DELETE", secret, auth.AccountWrite, (*API).deleteStoredSecret},
		{"POST", secret + "/duplicate", auth.AccountWrite, (*API).duplicateStoredSecret},
	}
}

func showSecretStore(q *request, s store.SecretStore) wire.SecretStore {
	return wire.SecretStore{ID: s.ID, AccountID: string(q.account), Name: s.Name, Created: s.Created, Modified: s.Modified}
}

func showStoredSecret(s store.StoredSecret) wire.StoredSecret {
	return wire.StoredSecret{ID: s.ID, StoreID: s.Store, Name: s.Name, Comment: s.Comment, Scopes: s.Scopes, Status: "active", Created: s.Created, Modified: s.Modified}
}

func showStoredSecrets(list []store.StoredSecret) []wire.StoredSecret {
	out := make([]wire.StoredSecret, 0, len(list))
	for _, s := range list {
		out = append(out, showStoredSecret(s))
	}
	return out
}

func readStoredSecret(c wire.StoredSecretChange) store.SecretChange {
	return store.SecretChange{Name: c.Name, Value: c.Value, Comment: c.Comment, Scopes: c.Scopes}
}

func (a *API) secretStoreQuota(q *request) (any, error) {
	stores, err := a.Store.SecretStores(q.Context(), q.account)
	var out wire.SecretStoreQuota
	out.Secrets.Quota = store.MaxStoredSecrets
	for _, s := range stores {
		list, err := a.Store.StoredSecrets(q.Context(), q.account, s.ID)
		if err != nil {
			return nil, err
		}
		out.Secrets.Usage += len(list)
	}
	return out, err
}

func (a *API) listSecretStores(q *request) (any, error) {
	list, err := a.Store.SecretStores(q.Context(), q.account)
	if err != nil {
		return nil, err
	}
	out := make([]wire.SecretStore, 0, len(list))
	for _, s := range list {
		out = append(out, showSecretStore(q, s))
	}
	return paged(q, out)
}

// postSecretStore makes a store. The SDKs before their seventh version send it in a list of one, and read such a list.
func (a *API) postSecretStore(q *request) (any, error) {
	var in storeOrList
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	if len(in.stores) != 1 {
		return nil, fault.New(fault.Invalid, 1002, "the body must be one store")
	}
	s, err := a.Store.CreateSecretStore(q.Context(), q.account, in.stores[0].Name)
	if err != nil {
		return nil, err
	}
	if in.list {
		return []wire.SecretStore{showSecretStore(q, s)}, nil
	}
	return showSecretStore(q, s), nil
}

// storeOrList is a store, or a list of stores.
type storeOrList struct {
	stores []wire.StoredSecretChange
	list   bool
}

func (s *storeOrList) UnmarshalJSON(b []byte) error {
	if s.list = bytes.HasPrefix(b, []byte("[")); s.list {
		return json.Unmarshal(b, &s.stores)
	}
	s.stores = make([]wire.StoredSecretChange, 1)
	return json.Unmarshal(b, &s.stores[0])
}

func (a *API) getSecretStore(q *request) (any, error) {
	s, err := a.Store.SecretStore(q.Context(), q.account, q.path("store"))
	if err != nil {
		return nil, err
	}
	return showSecretStore(q, s), nil
}

func (a *API) deleteSecretStore(q *request) (any, error) {
	s, err := a.Store.DeleteSecretStore(q.Context(), q.account, q.path("store"), q.URL.Query().Get("force") == "true")
	if err != nil {
		return nil, err
	}
	return showSecretStore(q, s), nil
}

func (a *API) listStoredSecrets(q *request) (any, error) {
	list, err := a.Store.StoredSecrets(q.Context(), q.account, q.path("store"))
	if err != nil {
		return nil, err
	}
	out := []wire.StoredSecret{}
	for _, s := range showStoredSecrets(list) {
		if strings.Contains(s.Name, q.URL.Query().Get("search")) {
			out = append(out, s)
		}
	}
	if q.URL.Query().Get("direction") == "desc" {
		slices.Reverse(out)
	}
	return paged(q, out)
}

func (a *API) postStoredSecrets(q *request) (any, error) {
	var in []wire.StoredSecretChange
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	if len(in) == 0 {
		return nil, fault.New(fault.Invalid, 1002, "the body must be an array of secrets")
	}
	changes := make([]store.SecretChange, len(in))
	for i, c := range in {
		changes[i] = readStoredSecret(c)
	}
	list, err := a.Store.CreateStoredSecrets(q.Context(), q.account, q.path("store"), changes)
	if err != nil {
		return nil, err
	}
	return showStoredSecrets(list), nil
}

func (a *API) deleteStoredSecrets(q *request) (any, error) {
	var in []struct {
		ID string `json:"id"`
	}
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	ids := make([]string, len(in))
	for i, s := range in {
		ids[i] = s.ID
	}
	list, err := a.Store.DeleteStoredSecrets(q.Context(), q.account, q.path("store"), ids)
	if err != nil {
		return nil, err
	}
	return showStoredSecrets(list), nil
}

func (a *API) getStoredSecret(q *request) (any, error) {
	s, err := a.Store.StoredSecret(q.Context(), q.account, q.path("store"), q.path("secret"))
	if err != nil {
		return nil, err
	}
	return showStoredSecret(s), nil
}

func (a *API) patchStoredSecret(q *request) (any, error) {
	var in wire.StoredSecretChange
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	s, err := a.Store.UpdateStoredSecret(q.Context(), q.account, q.path("store"), q.path("secret"), readStoredSecret(in))
	if err != nil {
		return nil, err
	}
	return showStoredSecret(s), nil
}

func (a *API) deleteStoredSecret(q *request) (any, error) {
	list, err := a.Store.DeleteStoredSecrets(q.Context(), q.account, q.path("store"), []string{q.path("secret")})
	if err != nil {
		return nil, err
	}
	return showStoredSecret(list[0]), nil
}

func (a *API) duplicateStoredSecret(q *request) (any, error) {
	var in wire.StoredSecretChange
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	s, err := a.Store.DuplicateStoredSecret(q.Context(), q.account, q.path("store"), q.path("secret"), readStoredSecret(in))
	if err != nil {
		return nil, err
	}
	return showStoredSecret(s), nil
}
