// Package edge is the public face of a node: it takes clients' requests, finds the platform Worker that their URL is
// routed to, and answers with what the Worker answers or with an error page.
//
// It speaks HTTP/1.1 and HTTP/2 in clear text (h2c with prior knowledge). It keeps the request target as it was sent,
// adds the headers by which a Worker knows its client, and lets nobody forge them. It sees routes and the dispatcher and
// nothing of the store or the API, so traffic flows while those do not.
//
// An Edge may be used concurrently.
package edge

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/dispatch"
	"atoll.dev/atoll/internal/egress"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/hop"
	"atoll.dev/atoll/internal/invocation"
	"atoll.dev/atoll/internal/route"
	"atoll.dev/atoll/internal/router"
)

// Options bound what a client may send and get. Zero values mean the defaults, which are Cloudflare's:
// https://developers.cloudflare.com/workers/platform/limits/
type Options struct {
	MaxURL      int           // bytes of the request target; 16 KB
	MaxHeader   int           // bytes of all headers; 128 KB
	MaxBody     int64         // bytes of the request body; 100 MB
	MaxResponse int64         // bytes of the response body; no bound
	Stall       time.Duration // how long a client may stay silent while its head or body is awaited or it reads nothing; 60 s
	Static      Static        // answers from scripts' assets; nil: the Caller does

	Records router.Records // of the routes with a built-in router; nil: no router has any
}

// Caller carries a request to a script.
type Caller func(context.Context, dispatch.Call) (*dispatch.Reply, error)

// Edge answers clients.
type Edge struct {
	lg    *slog.Logger
	call  Caller
	opts  Options
	table atomic.Pointer[route.Table]
	cf    map[string]string // request.cf by protocol
}

// New returns an Edge without routes.
func New(lg *slog.Logger, call Caller, opts Options) *Edge {
	if opts.MaxURL == 0 {
		opts.MaxURL = 16 << 10
	}
	if opts.MaxHeader == 0 {
		opts.MaxHeader = 128 << 10
	}
	if opts.MaxBody == 0 {
		opts.MaxBody = 100 << 20
	}
	if opts.Stall == 0 {
		opts.Stall = 60 * time.Second
	}
	e := &Edge{lg: lg, call: call, opts: opts, cf: map[string]string{}}
	for _, proto := range []string{"HTTP/1.0", "HTTP/1.1", "HTTP/2.0"} {
		e.cf[proto] = describe(proto)
	}
	e.Publish(route.Compile(nil))
	return e
}

// Publish replaces the routes.
func (e *Edge) Publish(t *route.Table) { e.table.Store(t) }

// Server returns a server of e with its limits.
func (e *Edge) Server() *hop.Front {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return hop.NewFront(&http.Server{
		Handler:           e,
		Protocols:         protocols,
		ReadHeaderTimeout: 15 * time.Second,
		IdleTimeout:       75 * time.Second,
		MaxHeaderBytes:    e.opts.MaxHeader,
		ErrorLog:          slog.NewLogLogger(e.lg.Handler(), slog.LevelDebug),
	})
}

// ServeHTTP implements http.Handler.
func (e *Edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ray := invocation.NewRay()
	h := w.Header()
	h["Cf-Ray"], h["Server"] = []string{ray}, []string{"atoll"}
	to, problem := e.resolve(r)
	if problem != nil {
		e.fail(w, r, ray, problem)
		return
	}
	if err := e.serve(w, r, ray, to); err != nil {
		e.fail(w, r, ray, e.problem(r, to.Script, err))
	}
}

// resolve finds the script for a request, and with what limits it is to be called, or why there is none.
func (e *Edge) resolve(r *http.Request) (to router.Target, _ *problem) {
	if r.Method == http.MethodConnect {
		return to, badRequest
	}
	if len(r.RequestURI) > e.opts.MaxURL {
		return to, uriTooLong
	}
	if r.ContentLength > e.opts.MaxBody {
		return to, bodyTooLarge
	}
	host := hostname(r)
	path, _, _ := strings.Cut(hop.Target(r), "?")
	found, ok := e.table.Load().Lookup("http", host, path)
	if !ok {
		return to, noRoute
	}
	if found.Router == nil {
		return router.Target{Script: found.Script}, nil
	}
	to, err := router.Find(r.Context(), found.Script.Account, found.Router, host, path, e.opts.Records)
	if err != nil {
		return to, e.problem(r, to.Script, err)
	}
	return to, nil
}

// hostname is the host that a request is to, without its port.
func hostname(r *http.Request) string {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.TrimSuffix(host, ".")
}

// serve carries the request to the script and relays the answer. It returns an error only while nothing has been
// answered yet.
func (e *Edge) serve(w http.ResponseWriter, r *http.Request, ray string, to router.Target) error {
	guarded := newGuard(w, r, e.opts)
	asked, done, err := e.static(guarded, r, to.Script)
	if done || err != nil {
		return err
	}
	req := hop.FromServer(r)
	req.Target = escapeTarget(req.Target)
	e.identify(req.Header, r, ray)
	reply, err := e.call(r.Context(), dispatch.Call{
		Script: to.Script, Limits: to.Limits, Outbound: to.Outbound, Request: req, Proto: "http", Cf: e.cf[r.Proto], Hops: egress.Loops(r.Header), Asked: asked,
		Tenant: strings.ToLower(hostname(r)),
	})
	if err != nil {
		return err
	}
	defer reply.Close()
	if most := e.opts.MaxResponse; most > 0 && reply.ContentLength > most && reply.Body != http.NoBody {
		return errLongResponse
	}
	guarded.extend() // an answer without a body must not meet the deadline of the one before; whether it was met, Relay sees
	hop.Relay(r.Context(), guarded, reply.Response)
	return nil
}

// problem chooses the page for a failed call.
func (e *Edge) problem(r *http.Request, script atoll.ScriptRef, err error) *problem {
	var tooLarge *http.MaxBytesError
	var exception *dispatch.Exception
	switch {
	case r.Context().Err() != nil:
		return clientGone
	case errors.As(err, &tooLarge):
		return bodyTooLarge
	case errors.As(err, new(*bodyError)):
		return badRequest
	case errors.Is(err, errLongResponse), errors.As(err, &exception) && exception.Resource():
		return exceededResources
	case errors.As(err, &exception) && exception.Message == dispatch.ErrTooDeep.Message:
		return loop
	case errors.As(err, &exception):
		return threwException
	case fault.KindOf(err) == fault.NotFound:
		return noScript
	}
	e.lg.Error("request failed", "script", script.String(), "err", err)
	return internalError
}
