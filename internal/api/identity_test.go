package api

import (
	"testing"
	"time"

	"atoll.dev/atoll/internal/wire"
)

func TestIdentity(t *testing.T) {
	n := newNode(t)
	for _, path := range []string{"/user/tokens/verify", "ACCT/tokens/verify"} {
		var status wire.TokenStatus
		n.ok(&status, "GET", path, "")
		if status.Status != "active" || len(status.ID) != 32 {
			t.Errorf("%s = %+v", path, status)
		}
		n.refused(401, 1000, "wrong", "GET", path, "")
		n.refused(401, 1000, "", "GET", path, "")
	}
	var user wire.User
	n.ok(&user, "GET", "/user", "")
	if user.ID != theAccount || user.Email != "operator@atoll.localhost" {
		t.Errorf("user = %+v", user)
	}
	var accounts []wire.Account
	a := n.ok(&accounts, "GET", "/accounts?page=1", "")
	if len(accounts) != 1 || accounts[0].ID != theAccount || accounts[0].Name != "Atoll" || *a.ResultInfo.TotalCount != 1 {
		t.Errorf("accounts = %+v, %+v", accounts, a.ResultInfo)
	}
	n.ok(&accounts, "GET", "/accounts?page=2", "")
	if len(accounts) != 0 {
		t.Errorf("page 2 of accounts = %+v", accounts)
	}
	var memberships []wire.Membership
	n.ok(&memberships, "GET", "/memberships?page=1", "")
	if len(memberships) != 1 || memberships[0].Account.ID != theAccount {
		t.Errorf("memberships = %+v", memberships)
	}
	var one wire.Account
	n.ok(&one, "GET", "ACCT", "")
	if one.ID != theAccount {
		t.Errorf("account = %+v", one)
	}
}

func TestUnauthenticated(t *testing.T) {
	n := newNode(t)
	a := n.refused(401, 10000, "", "GET", "/accounts", "")
	if a.header.Get("WWW-Authenticate") == "" {
		t.Error("a 401 has no WWW-Authenticate")
	}
	n.refused(401, 10000, "wrong", "GET", "/accounts", "")
	n.refused(400, 6003, "", "GET", "/accounts", "", "Authorization: Basic eDp5")
	n.refused(400, 6003, "", "GET", "/accounts", "", "Authorization: Bearer")
	if a := n.send("GET", "/accounts", "", "", "X-Auth-Email: a@b.c", "X-Auth-Key: "+theToken); a.status != 200 {
		t.Errorf("X-Auth-Key: status %d", a.status)
	}
	n.refused(401, 10000, "", "GET", "/accounts", "", "X-Auth-Key: wrong")
}

func TestTokens(t *testing.T) {
	n := newNode(t)
	n.ok(nil, "POST", "ACCT/workers/dispatch/namespaces", `{"name":"production"}`)
	var groups []wire.PermissionGroup
	n.ok(&groups, "GET", "/user/tokens/permission_groups", "")
	if len(groups) != 2 {
		t.Errorf("permission groups = %+v", groups)
	}

	var made wire.Token
	expires := time.Now().Add(time.Hour).UTC().Format(wire.TimeLayout)
	n.ok(&made, "POST", "ACCT/tokens", `{"name":"ci","expires_on":"`+expires+`","policies":[{"effect":"allow",
		"permission_groups":[{"id":"`+wire.GroupWriteID+`"}],"resources":{"com.atoll.dispatch_namespace.production":"*"}}]}`)
	if made.Value == "" || made.Status != "active" || made.ExpiresOn.Format(wire.TimeLayout) != expires {
		t.Errorf("token = %+v", made)
	}
	var got wire.Token
	n.ok(&got, "GET", "ACCT/tokens/"+made.ID, "")
	if got.Value != "" || got.Policies[0].Resources["com.atoll.dispatch_namespace.production"] != "*" || got.Policies[0].PermissionGroups[0].Name != wire.GroupWrite {
		t.Errorf("token = %+v", got)
	}
	var status wire.TokenStatus
	if a := n.send("GET", "/user/tokens/verify", made.Value, ""); a.status != 200 {
		t.Errorf("verify: %d %s", a.status, a.body)
	}
	n.ok(&status, "GET", "/user/tokens/verify", "")

	// The scope holds on to the namespace, not to its name.
	n.ok(nil, "PUT", "ACCT/workers/dispatch/namespaces/production", `{"name":"renamed"}`)
	n.ok(nil, "POST", "ACCT/workers/dispatch/namespaces", `{"name":"production"}`)
	if a := n.send("GET", "ACCT/workers/dispatch/namespaces/renamed", made.Value, ""); a.status != 200 {
		t.Errorf("the token of a renamed namespace: %d %s", a.status, a.body)
	}
	n.refused(403, 9109, made.Value, "GET", "ACCT/workers/dispatch/namespaces/production", "")
	n.ok(&got, "GET", "ACCT/tokens/"+made.ID, "")
	if got.Policies[0].Resources["com.atoll.dispatch_namespace.renamed"] != "*" {
		t.Errorf("token = %+v", got)
	}

	var list []wire.Token
	n.ok(&list, "GET", "ACCT/tokens", "")
	if len(list) != 1 || list[0].ID != made.ID {
		t.Errorf("tokens = %+v", list)
	}
	n.ok(nil, "DELETE", "ACCT/tokens/"+made.ID, "")
	n.refused(401, 10000, made.Value, "GET", "/accounts", "")
	n.fails(404, 1003, "DELETE", "ACCT/tokens/"+made.ID, "")
	n.fails(404, 1003, "GET", "ACCT/tokens/"+made.ID, "")

	for name, body := range map[string]string{
		"no-name":         `{"policies":[{"effect":"allow","permission_groups":[{"name":"Read"}],"resources":{"com.cloudflare.api.account.` + theAccount + `":"*"}}]}`,
		"no-policies":     `{"name":"x"}`,
		"unknown-group":   `{"name":"x","policies":[{"effect":"allow","permission_groups":[{"name":"DNS Write"}],"resources":{"com.cloudflare.api.account.` + theAccount + `":"*"}}]}`,
		"deny":            `{"name":"x","policies":[{"effect":"deny","permission_groups":[{"name":"Read"}],"resources":{"com.cloudflare.api.account.` + theAccount + `":"*"}}]}`,
		"every-account":   `{"name":"x","policies":[{"effect":"allow","permission_groups":[{"name":"Read"}],"resources":{"com.cloudflare.api.account.*":"*"}}]}`,
		"two-resources":   `{"name":"x","policies":[{"effect":"allow","permission_groups":[{"name":"Read"}],"resources":{"a":"*","b":"*"}}]}`,
		"resource-value":  `{"name":"x","policies":[{"effect":"allow","permission_groups":[{"name":"Read"}],"resources":{"com.cloudflare.api.account.` + theAccount + `":"x"}}]}`,
		"expired-already": `{"name":"x","expires_on":"2020-01-01T00:00:00Z","policies":[{"effect":"allow","permission_groups":[{"name":"Read"}],"resources":{"com.cloudflare.api.account.` + theAccount + `":"*"}}]}`,
	} {
		t.Run(name, func(t *testing.T) { n.fails(400, 1001, "POST", "ACCT/tokens", body) })
	}
	n.fails(404, 100119, "POST", "ACCT/tokens", `{"name":"x","policies":[{"effect":"allow","permission_groups":[{"name":"Read"}],"resources":{"com.atoll.dispatch_namespace.nope":"*"}}]}`)
	n.fails(400, 10026, "POST", "ACCT/tokens", `{`)
}
