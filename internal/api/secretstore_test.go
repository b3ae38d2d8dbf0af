package api

import (
	"strings"
	"testing"

	"atoll.dev/atoll/internal/wire"
)

func TestSecretStores(t *testing.T) {
	n := newNode(t)
	const all = "/accounts/" + theAccount + "/secrets_store/stores"
	var s wire.SecretStore
	n.ok(&s, "POST", all, `{"name":"main"}`)
	n.fails(409, 1003, "POST", all, `{"name":"main"}`)
	n.fails(400, 1002, "POST", all, `{"name":"a b"}`)
	secrets := all + "/" + s.ID + "/secrets"
	var made []wire.StoredSecret
	n.ok(&made, "POST", secrets, `[{"name":"one","value":"hush","scopes":["workers"],"comment":"first"},{"name":"two","value":"x","scopes":["workers"]}]`)
	if len(made) != 2 || made[0].Name != "one" || made[0].Comment != "first" || made[0].Status != "active" || made[0].StoreID != s.ID || s.AccountID != theAccount {
		t.Errorf("made %+v in %+v", made, s)
	}
	one := secrets + "/" + made[0].ID
	n.fails(400, 1002, "POST", secrets, `[]`)
	n.fails(400, 10026, "POST", secrets, `{}`)
	n.fails(400, 1002, "POST", secrets, `[{"name":"x","value":"x","scopes":["nope"]}]`)
	n.fails(404, 1001, "POST", all+"/nope/secrets", `[{"name":"x","value":"x","scopes":["workers"]}]`)
	var list []wire.StoredSecret
	for query, want := range map[string]int{"": 2, "?search=on": 1, "?per_page=1&page=2": 1, "?per_page=1&page=3": 0} {
		if n.ok(&list, "GET", secrets+query, ""); len(list) != want {
			t.Errorf("%q lists %d", query, len(list))
		}
	}
	var got wire.StoredSecret
	answer := n.ok(&got, "PATCH", one, `{"value":"hush hush","comment":"changed"}`)
	if got.Comment != "changed" || strings.Contains(answer.body, "hush") {
		t.Errorf("after a change: %+v", got)
	}
	n.ok(&got, "POST", one+"/duplicate", `{"name":"copy","scopes":["workers"],"comment":""}`)
	var quota wire.SecretStoreQuota
	if n.ok(&quota, "GET", "/accounts/"+theAccount+"/secrets_store/quota", ""); quota.Secrets.Usage != 3 {
		t.Errorf("quota %+v", quota)
	}
	n.fails(409, 1003, "DELETE", all+"/"+s.ID, "")

	n.ok(&got, "DELETE", one, "")
	n.fails(404, 1001, "GET", one, "")
	n.ok(&list, "DELETE", secrets, `[{"id":"`+made[1].ID+`"}]`)

	// What the SDKs send besides: a list of one store, the order of a list, the end of a store with all that it holds.
	var stores []wire.SecretStore
	if n.ok(&stores, "POST", all, `[{"name":"other"}]`); len(stores) != 1 || stores[0].Name != "other" {
		t.Errorf("made %+v", stores)
	}
	n.fails(400, 1002, "POST", all, `[]`)
	n.fails(400, 1002, "POST", all, `[{"name":"a"},{"name":"b"}]`)
	n.ok(&made, "POST", secrets, `[{"name":"a","value":"x","scopes":["workers"]},{"name":"b","value":"x","scopes":["workers"]}]`)
	if n.ok(&list, "GET", secrets+"?order=name&direction=desc", ""); len(list) != 3 || list[0].Name != "copy" || list[2].Name != "a" {
		t.Errorf("from the last to the first: %+v", list)
	}
	if n.ok(&s, "GET", all+"/"+s.ID, ""); s.Name != "main" {
		t.Errorf("got %+v", s)
	}
	n.ok(&s, "DELETE", all+"/"+s.ID+"?force=true", "")
	n.fails(404, 1001, "GET", all+"/"+s.ID, "")
	n.fails(404, 1001, "GET", secrets, "")
}
