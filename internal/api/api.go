// Package api is the REST API under /client/v4, in the form of Cloudflare's: an envelope of success, errors and result,
// Cloudflare's paths, fields and error codes, so that wrangler, the SDKs and Terraform work unchanged.
//
// It is a face: it reads a request, asks packages store, deploy, kv, r2 and d1, and writes what they answer in package wire's
// shapes. It decides nothing about scripts, and it keeps nothing. What a route needs of its caller stands in the table of
// routes.go, beside its path; docs/api.md is the reference of the same routes, and a test compares them.
//
// Invariant: no handler runs before its caller was authenticated, allowed the route's permission, and the account, zone and
// dispatch namespace of its path were found. Names in a namespace and names in the account are never looked up through each
// other. Handlers return a value or an error; both are rendered in render.go, and what is not a fault says nothing.
//
// The handler may serve any number of requests at once.
package api

import (
	"log/slog"
	"net/http"

	"atoll.dev/atoll/internal/assets"
	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/auth"
	"atoll.dev/atoll/internal/d1"
	"atoll.dev/atoll/internal/deploy"
	"atoll.dev/atoll/internal/durable"
	"atoll.dev/atoll/internal/kv"
	"atoll.dev/atoll/internal/objects"
	"atoll.dev/atoll/internal/queue"
	"atoll.dev/atoll/internal/r2"
	"atoll.dev/atoll/internal/store"
)

// Deps is what the API works with.
type Deps struct {
	Store   *store.DB
	Blobs   *durable.Blobs
	Objects *objects.Store
	Deploy  *deploy.Service
	KV      *kv.Store
	Queues  *queue.Store
	R2      *r2.Store
	D1      *d1.Store
	Auth    *auth.Auth
	Assets  *assets.Uploads

	Account atoll.AccountID // the node's account: whom the node's own token means where a path names no account
	Zone    string          // the node's zone, such as "atoll.localhost"

	// RoutesChanged is called after a change of routes or zones, SchedulesChanged after one of cron triggers, and
	// NamespaceChanged after a dispatch namespace was renamed, deleted, or changed its trust, EgressChanged after a change of
	// the egress rules of a namespace or, with a name, a script: before the answer, so that a client finds the change in
	// effect. nil is allowed.
	RoutesChanged    func()
	SchedulesChanged func()
	NamespaceChanged func(atoll.AccountID, atoll.NamespaceName)
	EgressChanged    func(atoll.AccountID, atoll.NamespaceName, atoll.ScriptName)

	MaxBody int64 // bytes of one request's body; 0: 256 MiB, enough for 100 MB of KV pairs in base64
}

// API serves the routes of routes.go.
type API struct {
	lg *slog.Logger
	Deps
}

// New returns the handler of the API. It must see the path as the client sent it: behind an http.ServeMux, which redirects
// paths with empty and dot segments, a KV key with such segments is lost.
func New(lg *slog.Logger, d Deps) http.Handler {
	if lg == nil {
		lg = slog.New(slog.DiscardHandler)
	}
	if d.MaxBody == 0 {
		d.MaxBody = 256 << 20
	}
	if d.RoutesChanged == nil {
		d.RoutesChanged = func() {}
	}
	if d.SchedulesChanged == nil {
		d.SchedulesChanged = func() {}
	}
	if d.NamespaceChanged == nil {
		d.NamespaceChanged = func(atoll.AccountID, atoll.NamespaceName) {}
	}
	if d.EgressChanged == nil {
		d.EgressChanged = func(atoll.AccountID, atoll.NamespaceName, atoll.ScriptName) {}
	}
	a := &API{lg: lg, Deps: d}
	return a.router(routes())
}
