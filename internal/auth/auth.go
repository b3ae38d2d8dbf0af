// Package auth says who calls the REST API and what they may do: token to Principal to Permission.
//
// A token is a random text; the store keeps its SHA-256 and a Scope: reading or writing, in an account or in one of its
// dispatch namespaces. The node's own token (--api-token) is not in the store and may do everything. Package auth does not
// know routes: package api asks it with the Permission that its route table names.
//
// Invariant: nothing is allowed that no line of Check allows; the zero Permission and the zero Principal are refused. All
// methods may be called concurrently.
package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/store"
)

// Auth looks tokens up.
type Auth struct {
	db   *store.DB
	node [32]byte // hash of the node's own token
	now  func() time.Time
}

// New returns an Auth over db's tokens and the node's own token. A nil now is time.Now.
func New(db *store.DB, nodeToken string, now func() time.Time) (*Auth, error) {
	if len(nodeToken) < 8 {
		return nil, fmt.Errorf("the node's API token has %d characters; it needs at least 8", len(nodeToken))
	}
	if now == nil {
		now = time.Now
	}
	return &Auth{db: db, node: Hash(nodeToken), now: now}, nil
}

// Hash is what the store keeps of a token. The text has 256 random bits, so a slow hash would gain nothing.
func Hash(text string) [32]byte { return sha256.Sum256([]byte(text)) }

// Mint returns a new token's text.
func Mint() string {
	var b [32]byte
	rand.Read(b[:]) // never fails, see crypto/rand
	return "atoll_" + base64.RawURLEncoding.EncodeToString(b[:])
}

// Scope is what a stored token may do.
type Scope struct {
	Write       bool   `json:"write"`                  // and read; else read only
	NamespaceID string `json:"namespace_id,omitempty"` // in this dispatch namespace only, whatever its name becomes
}

// Encode returns the form in which the store keeps the scope.
func (s Scope) Encode() json.RawMessage {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a struct of a bool and a string
	}
	return b
}

// DecodeScope reads what Encode wrote.
func DecodeScope(b json.RawMessage) (Scope, error) {
	var s Scope
	if err := json.Unmarshal(b, &s); err != nil {
		return Scope{}, fmt.Errorf("read token scope: %w", err)
	}
	return s, nil
}

// Principal is who calls.
type Principal struct {
	TokenID string // 32 hex digits
	Name    string
	Account atoll.AccountID // empty: every account of the node
	Scope   Scope
	Expires time.Time // zero: never
}

// Authenticate returns the principal whose token the request's headers carry: Authorization: Bearer, or X-Auth-Key, where
// older clients put a user's global key. Whoever sends no valid token gets Unauthenticated.
func (a *Auth) Authenticate(ctx context.Context, h http.Header) (Principal, error) {
	text, err := token(h)
	if err != nil {
		return Principal{}, err
	}
	hash := Hash(text)
	if subtle.ConstantTimeCompare(hash[:], a.node[:]) == 1 {
		return a.nodePrincipal(), nil
	}
	t, err := a.db.TokenByHash(ctx, hash)
	if fault.KindOf(err) == fault.Unauthenticated {
		return Principal{}, errUnknown
	}
	if err != nil {
		return Principal{}, fmt.Errorf("find token: %w", err)
	}
	return a.principal(t)
}

// AccessKey returns the principal of an access key, and the key's secret. Every token is one, as on Cloudflare: its id with the
// SHA-256 of its text (https://developers.cloudflare.com/r2/api/tokens/#get-s3-api-credentials-from-an-api-token), which is
// what the store keeps. The error of a key that is none, or no more, is Unauthenticated.
func (a *Auth) AccessKey(ctx context.Context, id string) (Principal, string, error) {
	if node := a.nodePrincipal(); subtle.ConstantTimeCompare([]byte(id), []byte(node.TokenID)) == 1 {
		return node, hex.EncodeToString(a.node[:]), nil
	}
	t, err := a.db.Token(ctx, id)
	if fault.KindOf(err) == fault.Unauthenticated {
		return Principal{}, "", errUnknown
	}
	if err != nil {
		return Principal{}, "", fmt.Errorf("find token: %w", err)
	}
	p, err := a.principal(t)
	return p, hex.EncodeToString(t.Hash[:]), err
}

// nodePrincipal is whoever has the node's own token.
func (a *Auth) nodePrincipal() Principal {
	id := sha256.Sum256(append([]byte("id of token "), a.node[:]...))
	return Principal{TokenID: hex.EncodeToString(id[:16]), Name: "node", Scope: Scope{Write: true}}
}

// principal is who has the token, unless it has expired.
func (a *Auth) principal(t store.Token) (Principal, error) {
	if !t.Expires.IsZero() && !a.now().Before(t.Expires) {
		return Principal{}, errUnknown
	}
	scope, err := DecodeScope(t.Scope)
	if err != nil {
		return Principal{}, fmt.Errorf("token %s: %w", t.ID, err)
	}
	return Principal{TokenID: t.ID, Name: t.Name, Account: t.Account, Scope: scope, Expires: t.Expires}, nil
}

// The answers to a caller without a valid token. wrangler reads 10000 as a token problem and prints its own advice.
var (
	errUnknown = fault.New(fault.Unauthenticated, 10000, "Authentication error")
	errFormat  = fault.New(fault.Invalid, 6003, "Invalid request headers: Invalid format for Authorization header")
)

// token finds the token's text in the headers.
func token(h http.Header) (string, error) {
	if v := h.Get("Authorization"); v != "" {
		scheme, text, ok := strings.Cut(v, " ")
		text = strings.TrimSpace(text)
		if !ok || !strings.EqualFold(scheme, "Bearer") || text == "" || len(text) > 1024 {
			return "", errFormat
		}
		return text, nil
	}
	if v := h.Get("X-Auth-Key"); v != "" && len(v) <= 1024 {
		return v, nil
	}
	return "", errUnknown
}
