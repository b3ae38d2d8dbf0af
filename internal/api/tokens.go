package api

import (
	"fmt"
	"strings"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/auth"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/store"
	"atoll.dev/atoll/internal/wire"
)

// listPermissionGroups returns what a token's policy may name.
func (a *API) listPermissionGroups(q *request) (any, error) {
	scopes := []string{strings.TrimSuffix(wire.ResourceAccount, "."), strings.TrimSuffix(wire.ResourceNamespace, ".")}
	return []wire.PermissionGroup{
		{ID: wire.GroupReadID, Name: wire.GroupRead, Scopes: scopes},
		{ID: wire.GroupWriteID, Name: wire.GroupWrite, Scopes: scopes},
	}, nil
}

func (a *API) listTokens(q *request) (any, error) {
	list, err := a.Store.Tokens(q.Context(), q.account)
	if err != nil {
		return nil, fmt.Errorf("list tokens: %w", err)
	}
	out := make([]wire.Token, 0, len(list))
	for _, t := range list {
		shown, err := a.token(q, t)
		if err != nil {
			return nil, err
		}
		out = append(out, shown)
	}
	return paged(q, out)
}

func (a *API) getToken(q *request) (any, error) {
	t, err := a.findToken(q)
	if err != nil {
		return nil, err
	}
	return a.token(q, t)
}

// findToken finds the token of the path among the account's.
func (a *API) findToken(q *request) (store.Token, error) {
	list, err := a.Store.Tokens(q.Context(), q.account)
	if err != nil {
		return store.Token{}, fmt.Errorf("list tokens: %w", err)
	}
	for _, t := range list {
		if t.ID == q.path("token") {
			return t, nil
		}
	}
	return store.Token{}, fault.New(fault.NotFound, 1003, "This API token does not exist.")
}

// postToken makes a token. Its value is in this answer and nowhere else.
func (a *API) postToken(q *request) (any, error) {
	var in wire.TokenRequest
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	if in.Name == "" || len(in.Name) > 120 {
		return nil, fault.New(fault.Invalid, 1001, "a token needs a name of 1 to 120 bytes")
	}
	if !in.ExpiresOn.IsZero() && !in.ExpiresOn.After(time.Now()) {
		return nil, fault.New(fault.Invalid, 1001, "expires_on is in the past")
	}
	scope, err := a.scope(q, in.Policies)
	if err != nil {
		return nil, err
	}
	text := auth.Mint()
	t := store.Token{ID: atoll.NewID(), Name: in.Name, Account: q.account, Hash: auth.Hash(text),
		Scope: scope.Encode(), Created: time.Now(), Expires: in.ExpiresOn.Time}
	if err := a.Store.PutToken(q.Context(), t); err != nil {
		return nil, fmt.Errorf("store token: %w", err)
	}
	a.lg.Info("token made", "account", q.account, "token", t.ID, "by", q.who.TokenID)
	shown, err := a.token(q, t)
	shown.Value = text
	return shown, err
}

func (a *API) deleteToken(q *request) (any, error) {
	t, err := a.findToken(q)
	if err != nil {
		return nil, err
	}
	if err := a.Store.DeleteToken(q.Context(), t.ID); err != nil {
		return nil, fmt.Errorf("delete token: %w", err)
	}
	a.lg.Info("token deleted", "account", q.account, "token", t.ID, "by", q.who.TokenID)
	return map[string]string{"id": t.ID}, nil
}

// scope reads policies. Only what a Scope can express exactly is accepted: a policy that is half understood would give
// more, or less, than its author wrote.
func (a *API) scope(q *request, policies []wire.TokenPolicy) (auth.Scope, error) {
	refuse := func(format string, args ...any) (auth.Scope, error) {
		return auth.Scope{}, fault.Newf(fault.Invalid, 1001, "policies: "+format, args...)
	}
	if len(policies) != 1 || policies[0].Effect != "allow" || len(policies[0].Resources) != 1 || len(policies[0].PermissionGroups) == 0 {
		return refuse(`this node takes one policy, with effect "allow", one resource and at least one permission group`)
	}
	var s auth.Scope
	for _, g := range policies[0].PermissionGroups {
		switch {
		case g.ID == wire.GroupWriteID || g.ID == "" && g.Name == wire.GroupWrite:
			s.Write = true
		case g.ID == wire.GroupReadID || g.ID == "" && g.Name == wire.GroupRead:
		default:
			return refuse("unknown permission group %q %q; GET /user/tokens/permission_groups lists them", g.ID, g.Name)
		}
	}
	for resource, value := range policies[0].Resources {
		name, isNamespace := strings.CutPrefix(resource, wire.ResourceNamespace)
		switch {
		case value != "*":
			return refuse(`the value of resource %q must be "*"`, resource)
		case isNamespace:
			ns, err := a.Store.Namespace(q.Context(), q.account, atoll.NamespaceName(name))
			if err != nil {
				return auth.Scope{}, fmt.Errorf("find dispatch namespace: %w", err)
			}
			s.NamespaceID = ns.ID
		case resource != wire.ResourceAccount+string(q.account):
			return refuse("resource %q is neither this account nor one of its dispatch namespaces", resource)
		}
	}
	return s, nil
}

// token shows a stored token, its namespace under the name it has now.
func (a *API) token(q *request, t store.Token) (wire.Token, error) {
	scope, err := auth.DecodeScope(t.Scope)
	if err != nil {
		return wire.Token{}, fmt.Errorf("token %s: %w", t.ID, err)
	}
	out := wire.Token{ID: t.ID, Name: t.Name, Status: "active", IssuedOn: wire.Time{Time: t.Created}, ExpiresOn: wire.Time{Time: t.Expires}}
	if !t.Expires.IsZero() && !t.Expires.After(time.Now()) {
		out.Status = "expired"
	}
	group := wire.PermissionGroup{ID: wire.GroupReadID, Name: wire.GroupRead}
	if scope.Write {
		group = wire.PermissionGroup{ID: wire.GroupWriteID, Name: wire.GroupWrite}
	}
	resource := wire.ResourceAccount + string(q.account)
	if scope.NamespaceID != "" {
		list, err := a.Store.Namespaces(q.Context(), q.account)
		if err != nil {
			return wire.Token{}, fmt.Errorf("list dispatch namespaces: %w", err)
		}
		resource = wire.ResourceNamespace + "(deleted)"
		for _, ns := range list {
			if ns.ID == scope.NamespaceID {
				resource = wire.ResourceNamespace + string(ns.Name)
			}
		}
	}
	out.Policies = []wire.TokenPolicy{{ID: t.ID, Effect: "allow", PermissionGroups: []wire.PermissionGroup{group}, Resources: map[string]string{resource: "*"}}}
	return out, nil
}
