package auth

import (
	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
)

// Permission is what a route asks of its caller.
type Permission int

// The permissions. An account's token has the Namespace permissions in every namespace of the account.
const (
	Nobody         Permission = iota // the zero value: always refused
	Verify                           // any valid token; an invalid one is told so with code 1000, as wrangler expects
	Member                           // any valid token of the account
	AccountRead                      // reading in the account
	AccountWrite                     // writing in the account
	NamespaceRead                    // reading in the dispatch namespace
	NamespaceWrite                   // writing in the dispatch namespace
	// Session is for whoever has the token of an upload session, which is none of a Principal's: the handler checks it.
	Session
	// Probe is AccountRead for the two questions that wrangler asks about an account script before it deploys a namesake
	// into a dispatch namespace. A namespace's token is told that there is no such script, as far as it can know.
	Probe
)

var names = [...]string{"nobody", "verify", "member", "account:read", "account:write", "namespace:read", "namespace:write", "session", "probe"}

func (p Permission) String() string {
	if p < 0 || int(p) >= len(names) {
		return "unknown"
	}
	return names[p]
}

// Target is what a request is about: an account, and the id of a dispatch namespace where it is about one.
type Target struct {
	Account     atoll.AccountID
	NamespaceID string
}

// Check returns nil where p may do what need says to the target.
func (p Principal) Check(need Permission, t Target) error {
	if p.TokenID == "" || (p.Account != "" && p.Account != t.Account) {
		return errForbidden
	}
	whole := p.Scope.NamespaceID == ""
	mine := whole || (t.NamespaceID != "" && p.Scope.NamespaceID == t.NamespaceID)
	allowed := false
	switch need {
	case Verify, Member:
		allowed = true
	case AccountRead:
		allowed = whole
	case AccountWrite:
		allowed = whole && p.Scope.Write
	case NamespaceRead:
		allowed = mine
	case NamespaceWrite:
		allowed = mine && p.Scope.Write
	case Probe:
		if !whole {
			return atoll.ScriptRef{Account: t.Account}.NotFound()
		}
		allowed = true
	}
	if !allowed {
		return errForbidden
	}
	return nil
}

// Refusal returns what a caller is told whose authentication failed with err at a route that needs the permission.
func (p Permission) Refusal(err error) error {
	if p == Verify && fault.KindOf(err) == fault.Unauthenticated {
		return errInvalidToken
	}
	return err
}

var (
	errForbidden    = fault.New(fault.Forbidden, 9109, "Unauthorized to access requested resource")
	errInvalidToken = fault.New(fault.Unauthenticated, 1000, "Invalid API Token")
)
