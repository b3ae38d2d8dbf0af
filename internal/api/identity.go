package api

import (
	"fmt"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/store"
	"atoll.dev/atoll/internal/wire"
)

// verifyToken tells a token that it is valid; one that is not never comes here.
func (a *API) verifyToken(q *request) (any, error) {
	status := wire.TokenStatus{ID: q.who.TokenID, Status: "active"}
	if !q.who.Expires.IsZero() {
		status.ExpiresOn = &wire.Time{Time: q.who.Expires}
	}
	return told{status, 10000, "This API Token is valid and active"}, nil
}

// getUser returns the user of the token's account.
func (a *API) getUser(q *request) (any, error) {
	return wire.User{ID: a.author(q.account), Email: a.email(), Username: "atoll", FirstName: "Atoll", LastName: "Operator"}, nil
}

// author is the id of the user who made whatever is in the account.
func (a *API) author(acct atoll.AccountID) string { return string(acct) }

// email is the address of every user of the node. wrangler prints it as the author of versions.
func (a *API) email() string { return "operator@" + a.Zone }

// accounts returns the accounts that the caller's token is for.
func (a *API) accounts(q *request) ([]store.Account, error) {
	if q.who.Account == "" {
		list, err := a.Store.Accounts(q.Context())
		if err != nil {
			return nil, fmt.Errorf("list accounts: %w", err)
		}
		return list, nil
	}
	one, err := a.Store.Account(q.Context(), q.who.Account)
	if err != nil {
		return nil, fmt.Errorf("find account: %w", err)
	}
	return []store.Account{one}, nil
}

func account(in store.Account) wire.Account {
	return wire.Account{ID: string(in.ID), Name: in.Name, Type: "standard", CreatedOn: wire.Time{Time: in.Created}}
}

func (a *API) listAccounts(q *request) (any, error) {
	list, err := a.accounts(q)
	if err != nil {
		return nil, err
	}
	out := make([]wire.Account, 0, len(list))
	for _, in := range list {
		out = append(out, account(in))
	}
	return paged(q, out)
}

func (a *API) getAccount(q *request) (any, error) {
	in, err := a.Store.Account(q.Context(), q.account)
	if err != nil {
		return nil, fmt.Errorf("find account: %w", err)
	}
	return account(in), nil
}

// listMemberships returns one membership an account: wrangler takes an account for usable when it is in both lists.
func (a *API) listMemberships(q *request) (any, error) {
	list, err := a.accounts(q)
	if err != nil {
		return nil, err
	}
	out := make([]wire.Membership, 0, len(list))
	for _, in := range list {
		out = append(out, wire.Membership{
			ID: string(in.ID), Status: "accepted", Account: wire.AccountRef{ID: string(in.ID), Name: in.Name},
			Roles: []string{role(q)}, APIAccessEnabled: true,
		})
	}
	return paged(q, out)
}

// role is what the token's scope amounts to in Cloudflare's words.
func role(q *request) string {
	if q.who.Scope.Write {
		return "Administrator"
	}
	return "Administrator Read Only"
}
