package api

import (
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/auth"
	"atoll.dev/atoll/internal/d1"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/r2"
)

// Prefix stands before every pattern of the route table.
const Prefix = "/client/v4"

// endpoint is one line of the route table.
type endpoint struct {
	method  string
	pattern string // without Prefix; {name} is one segment, a trailing * the rest
	may     auth.Permission
	do      func(*API, *request) (any, error)
}

// router returns the handler of the routes. Routing sees the path in its escaped form, so that an escaped slash in a key or
// a tag does not divide it; request.param undoes the escapes, once.
func (a *API) router(table []endpoint) http.Handler {
	mux := chi.NewRouter()
	mux.Use(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			chi.RouteContext(r.Context()).RoutePath = r.URL.EscapedPath()
			next.ServeHTTP(w, r)
		})
	})
	for _, rt := range table {
		h := a.handle(rt)
		mux.Method(rt.method, Prefix+rt.pattern, h)
		if rt.method == http.MethodGet {
			mux.Method(http.MethodHead, Prefix+rt.pattern, h)
		}
	}
	none := func(w http.ResponseWriter, r *http.Request) { a.noRoute(mux, w, r) }
	mux.NotFound(none)
	mux.MethodNotAllowed(none)
	return a.recover(mux)
}

// handle returns the handler of one route.
func (a *API) handle(rt endpoint) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		r.Body = http.MaxBytesReader(w, r.Body, a.maxBody(rt))
		q := &request{Request: r, w: w}
		result, err := a.serve(rt, q)
		status := a.render(w, r, result, err)
		a.lg.Debug("api request", "method", r.Method, "route", rt.pattern, "status", status,
			"account", q.account, "script", q.ref.String(), "token", q.who.TokenID, "took", time.Since(start))
	}
}

// maxBody is how much is read of a request. An object is never in memory, and has a bound of its own.
func (a *API) maxBody(rt endpoint) int64 {
	if rt.method == http.MethodPut && rt.pattern == r2Objects+"/*" {
		return max(a.MaxBody, r2.MaxPut)
	}
	if rt.method == http.MethodPut && rt.pattern == d1Transfer {
		return max(a.MaxBody, d1.MaxImport)
	}
	return a.MaxBody
}

// serve authenticates, authorizes, and runs the route's handler.
func (a *API) serve(rt endpoint, q *request) (any, error) {
	if rt.may == auth.Session {
		return a.serveSession(rt, q)
	}
	who, err := a.Auth.Authenticate(q.Context(), q.Header)
	if err != nil {
		return nil, rt.may.Refusal(err)
	}
	q.who = who
	missing, err := a.locate(q)
	if err != nil {
		return nil, err
	}
	if err := who.Check(rt.may, auth.Target{Account: q.account, NamespaceID: q.namespace.ID}); err != nil {
		return nil, err
	}
	if missing != nil {
		return nil, missing
	}
	return rt.do(a, q)
}

// locate finds the account, zone, dispatch namespace and script that the path names. What is missing in the account is
// returned apart: only a caller who may ask is told of it.
func (a *API) locate(q *request) (missing, err error) {
	q.account = q.who.Account
	if q.account == "" {
		q.account = a.Account
	}
	if s, ok := q.param("account"); ok {
		if q.account, err = atoll.ParseAccountID(s); err != nil {
			return nil, noObject(q.Request)
		}
		if _, err := a.Store.Account(q.Context(), q.account); fault.KindOf(err) == fault.NotFound {
			missing = noObject(q.Request)
		} else if err != nil {
			return nil, fmt.Errorf("find account: %w", err)
		}
	}
	if s, ok := q.param("zone"); ok {
		if q.zone, err = a.Store.Zone(q.Context(), s); fault.KindOf(err) == fault.NotFound {
			return noObject(q.Request), nil
		} else if err != nil {
			return nil, fmt.Errorf("find zone: %w", err)
		}
		q.account = q.zone.Account
	}
	if s, ok := q.param("namespace"); ok && missing == nil {
		name, err := atoll.ParseNamespaceName(s)
		if err != nil {
			return errNoNamespace, nil
		}
		if q.namespace, err = a.Store.Namespace(q.Context(), q.account, name); fault.KindOf(err) == fault.NotFound {
			missing = err
		} else if err != nil {
			return nil, fmt.Errorf("find dispatch namespace: %w", err)
		}
	}
	if s, ok := q.param("script"); ok && missing == nil {
		name, err := atoll.ParseScriptName(s)
		if err != nil {
			return err, nil
		}
		q.ref = atoll.ScriptRef{Account: q.account, Namespace: q.namespace.Name, Name: name}
	}
	return missing, nil
}

var errNoNamespace = fault.New(fault.NotFound, 100119, "workers.api.error.dispatch_namespace_not_found")

// noObject is the answer to a path with an identifier of nothing. Cloudflare's path in the message has no prefix.
func noObject(r *http.Request) error {
	return fault.Newf(fault.NotFound, 7003, "Could not route to %s, perhaps your object identifier is invalid?",
		strings.TrimPrefix(r.URL.EscapedPath(), Prefix))
}

// noRoute answers what no route matches: OPTIONS, a wrong method, or an unknown path.
func (a *API) noRoute(mux *chi.Mux, w http.ResponseWriter, r *http.Request) {
	var allow []string
	for _, m := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} {
		if mux.Match(chi.NewRouteContext(), m, r.URL.EscapedPath()) {
			allow = append(allow, m)
		}
	}
	if len(allow) == 0 {
		a.renderErrors(w, http.StatusNotFound, noObject(r), fault.New(fault.NotFound, 7000, "No route for that URI"))
		return
	}
	allow = append(allow, "OPTIONS")
	slices.Sort(allow)
	w.Header().Set("Allow", strings.Join(allow, ", "))
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	a.renderErrors(w, http.StatusMethodNotAllowed,
		fault.Newf(fault.Invalid, 7001, "Method %s not available for that URI.", r.Method))
}

// recover turns a panic into an error 500, so that one request's mistake is one request's.
func (a *API) recover(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			switch v := recover(); v {
			case nil:
			case http.ErrAbortHandler:
				panic(v)
			default:
				a.lg.Error("api panic", "method", r.Method, "path", r.URL.EscapedPath(), "err", v, "stack", string(debug.Stack()))
				a.renderErrors(w, http.StatusInternalServerError, errors.New("panic"))
			}
		}()
		next.ServeHTTP(w, r)
	})
}
