// Package binding is the tenant border: it answers what comes out of isolate processes, each request on behalf of the
// process whose socket it came through.
//
// Which process calls is known by its socket, and which of its bindings by a header that workerd injects and user code
// cannot change. A binding is always looked up in the version that the process runs, so a Worker reaches the resources
// that its upload named and no others, whatever it sends. The services themselves (KV, dispatch, egress) know nothing of
// processes.
//
// A Border may be used concurrently.
package binding

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"atoll.dev/atoll/internal/assets"
	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/cache"
	"atoll.dev/atoll/internal/dispatch"
	"atoll.dev/atoll/internal/egress"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/hop"
	"atoll.dev/atoll/internal/invocation"
	"atoll.dev/atoll/internal/isolate"
	"atoll.dev/atoll/internal/ratelimit"
	"atoll.dev/atoll/internal/store"
)

// Services are what lies behind the border.
type Services struct {
	Call   func(context.Context, dispatch.Call) (*dispatch.Reply, error)
	Hold   func(ctx context.Context, ref atoll.ScriptRef, outbound string) (*dispatch.Line, error) // for RPC
	Egress *egress.Gate
	KV     func(namespace string) http.Handler
	Secret func(ctx context.Context, account atoll.AccountID, store, name string) (string, error)
	R2     func(account atoll.AccountID, bucket string) http.Handler
	D1     func(account atoll.AccountID, database string) http.Handler
	Assets *assets.Sites
	Cache  *cache.Store
	Owner  func(context.Context, atoll.ScriptRef, atoll.VersionID) (store.Owner, error) // of a version
	Points func(r *http.Request, script atoll.ScriptRef, dataset string, take func(n int) int) error
	Rate   func(account atoll.AccountID, namespace, key string, l ratelimit.Limit, now time.Time) bool
	Queue  func(account atoll.AccountID, name string, delay *int64) http.Handler
}

// Border answers the requests of isolate processes.
type Border struct {
	lg *slog.Logger
	Services
	owners   owners
	lanes    lanes
	sessions sessions
}

// New returns a Border. Its services may be set until the first process runs.
func New(lg *slog.Logger) *Border { return &Border{lg: lg} }

// ServeHTTP implements http.Handler for isolate.New.
func (b *Border) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p := isolate.From(r.Context())
	if p == nil {
		http.Error(w, "no process", http.StatusForbidden)
		return
	}
	w.Header()["Date"] = nil // a Worker gets the headers that were answered, and no more
	if r.ContentLength != 0 {
		http.NewResponseController(w).EnableFullDuplex() // an answer may come before the body has been read
	}
	if r.Method == http.MethodConnect {
		if binding, lane, ours := p.Lane(r.Host); ours {
			b.connect(w, r, p, binding, lane)
			return
		}
		b.socket(w, r, p) // workerd sends neither our tag nor the service's name with it
		return
	}
	service := r.Header.Get(isolate.HeaderService)
	switch service {
	case isolate.ServiceEgress:
		if r.Header[isolate.HeaderSession] != nil {
			b.claim(w, r, p)
			return
		}
		b.egress(w, r, p)
		return
	case isolate.ServiceCache:
		b.cache(w, r, p)
		return
	}
	index, ok := lookup(p, service)
	if !ok {
		b.lg.Warn("request to an unknown service", "script", p.Spec.Ref.String(), "isolate", p.ID, "service", service)
		http.Error(w, "no such service", http.StatusForbidden)
		return
	}
	if err := b.bound(w, r, p, index); err != nil {
		b.refuse(w, p, p.Spec.Version.Bindings[index], err)
	}
}

// lookup finds the binding that a service's name stands for among those of the version that the process runs.
func lookup(p *isolate.Process, service string) (int, bool) {
	index, ok := strings.CutPrefix(service, isolate.ServiceBinding)
	i, err := strconv.Atoi(index)
	return i, ok && err == nil && i >= 0 && i < len(p.Spec.Version.Bindings)
}

// fields are those of a binding's object that the border needs.
type fields struct {
	StoreID     string          `json:"store_id"` // secrets_store_secret
	SecretName  string          `json:"secret_name"`
	NamespaceID string          `json:"namespace_id"` // kv_namespace
	BucketName  string          `json:"bucket_name"`  // r2_bucket
	ID          string          `json:"id"`           // d1
	DatabaseID  string          `json:"database_id"`  // d1, in older clients' words
	Namespace   string          `json:"namespace"`    // dispatch_namespace
	Service     string          `json:"service"`      // service
	Entrypoint  string          `json:"entrypoint"`
	Props       json.RawMessage `json:"props"`
	QueueName   string          `json:"queue_name"` // queue
	Delay       *int64          `json:"delivery_delay"`
	Dataset     string          `json:"dataset"` // analytics_engine
	Simple      ratelimit.Limit `json:"simple"`  // ratelimit, with namespace_id
	Outbound    *struct {
		Worker struct {
			Service    string `json:"service"`
			Entrypoint string `json:"entrypoint"`
		} `json:"worker"`
		Params []struct {
			Name string `json:"name"`
		} `json:"params"`
	} `json:"outbound"` // dispatch_namespace
}

// readFields reads a binding's object, once in its process's life: it never changes.
func readFields(p *isolate.Process, index int) (*fields, error) {
	if f, ok := p.Bound.Load(index); ok {
		return f.(*fields), nil
	}
	f := &fields{}
	if err := json.Unmarshal(p.Spec.Version.Bindings[index].Fields, f); err != nil {
		return nil, fmt.Errorf("read binding: %w", err)
	}
	p.Bound.Store(index, f)
	return f, nil
}

func (b *Border) bound(w http.ResponseWriter, r *http.Request, p *isolate.Process, index int) error {
	bound := p.Spec.Version.Bindings[index]
	f, err := readFields(p, index)
	if err != nil {
		return err
	}
	account := p.Spec.Ref.Account
	switch bound.Type {
	case "kv_namespace":
		done, err := takeTurn(r, p)
		if err != nil {
			return err
		}
		defer done()
		b.KV(f.NamespaceID).ServeHTTP(w, r)
		return nil
	case "queue":
		b.Queue(account, f.QueueName, f.Delay).ServeHTTP(w, r)
		return nil
	case "analytics_engine":
		return b.points(w, r, p, f.Dataset)
	case "ratelimit":
		return b.rate(w, r, account, f)
	case "d1":
		b.D1(account, cmp.Or(f.ID, f.DatabaseID)).ServeHTTP(w, r)
		return nil
	case "r2_bucket":
		b.R2(account, f.BucketName).ServeHTTP(w, r)
		return nil
	case "secrets_store_secret":
		return b.secret(w, r, account, f)
	case "assets":
		b.assets(w, r, p)
		return nil
	}
	if question := r.Header.Get(isolate.HeaderRPC); question != "" && bound.Type == "service" {
		return b.rpc(w, r, p, index, *f, question)
	}
	tag := takeTag(r.Header)
	if !restore(r, p, tag) {
		w.Header().Set(isolate.HeaderError, isolate.Forgotten)
		w.WriteHeader(http.StatusInternalServerError)
		return nil
	}
	from, err := attribute(p, tag)
	if err != nil {
		return err
	}
	switch bound.Type {
	case "service":
		return b.call(w, r, from, dispatch.Call{Script: f.target(p), Entrypoint: f.Entrypoint, Props: f.Props, Outbound: from.outbound})
	case "dispatch_namespace":
		t, err := dispatched(r)
		if err != nil {
			return err
		}
		out := from.outbound // a Worker that is intercepted cannot call one that is not
		if f.Outbound != nil {
			if out, err = f.outbound(account, t.outbound); err != nil {
				return err
			}
		}
		return b.call(w, r, from, dispatch.Call{
			Script: atoll.ScriptRef{Account: account, Namespace: atoll.NamespaceName(f.Namespace), Name: t.name},
			Limits: t.limits, Outbound: out,
		})
	}
	return fmt.Errorf("binding of type %s has no service", bound.Type)
}

// restore gives a request that its sender has shortened the headers that it stands for: those of the request that its
// invocation was given. It fails where that has ended. js/invocation.js shortens.
func restore(r *http.Request, p *isolate.Process, tag string) bool {
	target, short := strings.CutPrefix(r.Header.Get(isolate.HeaderDispatch), "^")
	if !short {
		return true
	}
	given, ok := p.Invocations.Request(tag)
	if !ok {
		return false
	}
	h := make(http.Header, len(given.Header)+3)
	maps.Copy(h, given.Header)
	h[isolate.HeaderDispatch], h[isolate.HeaderProto] = []string{target}, r.Header[isolate.HeaderProto]
	if given.Cf != "" {
		h[isolate.HeaderCf] = []string{given.Cf}
	}
	r.Header = h
	return true
}

// target is what a dispatch stub asks for.
type target struct {
	name     atoll.ScriptName
	limits   invocation.Limits
	outbound map[string]json.RawMessage
}

// dispatched reads which user Worker a dispatch stub means, and its options; js/dispatch.js writes them.
func dispatched(r *http.Request) (target, error) {
	var t struct {
		Name   string `json:"name"`
		Limits struct {
			CPUMs       float64 `json:"cpuMs"`
			SubRequests float64 `json:"subRequests"`
		} `json:"limits"`
		Outbound json.RawMessage `json:"outbound"`
	}
	packed := r.Header.Get(isolate.HeaderDispatch)
	var bare bool
	if t.Name, bare = strings.CutPrefix(packed, "="); !bare {
		b, err := base64.StdEncoding.DecodeString(packed)
		if err == nil {
			err = json.Unmarshal(b, &t)
		}
		if err != nil {
			return target{}, &dispatch.Exception{Name: "TypeError", Message: "invalid options of a dispatch: " + err.Error()}
		}
	}
	name, err := atoll.ParseScriptName(t.Name)
	if err != nil {
		return target{}, errNotFound // a name that no Worker can have
	}
	var outbound map[string]json.RawMessage
	if t.Outbound != nil && json.Unmarshal(t.Outbound, &outbound) != nil {
		outbound = nil // not an object: as good as none
	}
	return target{name: name, outbound: outbound, limits: invocation.Limits{
		CPU:         time.Duration(clamp(t.Limits.CPUMs, dispatch.MaxCPU.Seconds()*1000) * float64(time.Millisecond)),
		SubRequests: int64(clamp(t.Limits.SubRequests, 1e9)),
	}}, nil
}

func clamp(v, most float64) float64 { return min(max(v, 0), most) }

// call carries a request of one Worker to another.
func (b *Border) call(w http.ResponseWriter, r *http.Request, from source, c dispatch.Call) error {
	c.Hops = from.hops + 1
	c.Request = hop.FromServer(r)
	c.Proto = r.Header.Get(isolate.HeaderProto)
	c.Cf = r.Header.Get(isolate.HeaderCf)
	reply, err := b.Call(r.Context(), c)
	if err != nil {
		return err
	}
	defer reply.Close()
	hop.Relay(r.Context(), w, reply.Response)
	return nil
}

// errNotFound is what Cloudflare throws for a missing user Worker; platforms compare its message.
var errNotFound = &dispatch.Exception{Name: "Error", Message: "Worker not found."}

// refuse answers with what the calling code is to be thrown.
func (b *Border) refuse(w http.ResponseWriter, p *isolate.Process, bound atoll.Binding, err error) {
	var e *dispatch.Exception
	switch {
	case errors.As(err, &e):
	case fault.KindOf(err) == fault.NotFound:
		e = errNotFound
	case errors.Is(err, hop.ErrHeadTooLarge):
		e = &dispatch.Exception{Name: "Error", Message: hop.ErrHeadTooLarge.Error()}
	case errors.Is(err, context.Canceled):
		panic(http.ErrAbortHandler) // nobody listens any more
	default:
		b.lg.Error("binding failed", "script", p.Spec.Ref.String(), "isolate", p.ID, "binding", bound.Name, "err", err)
		e = dispatch.AsException(err)
	}
	throw(w, e)
}

// throw answers with an exception for the calling code. js/prelude.js and js/dispatch.js throw it.
func throw(w http.ResponseWriter, e *dispatch.Exception) {
	w.Header().Set(isolate.HeaderError, e.Pack())
	w.WriteHeader(http.StatusInternalServerError)
}

// protocolTag is the subprotocol that carries the tag of a WebSocket made by its constructor; js/prelude.js adds it.
const protocolTag = "atoll-invocation."

// takeTag removes the invocation's tag from a request's headers and returns it. Where a fetch has set the header, a tag among
// the subprotocols comes from somebody's client and says nothing.
func takeTag(h http.Header) string {
	tag, fetched := h.Get(isolate.HeaderInvocation), h[isolate.HeaderInvocation] != nil
	h.Del(isolate.HeaderInvocation)
	const name = "Sec-Websocket-Protocol"
	if !strings.Contains(strings.Join(h[name], ","), protocolTag) {
		return tag
	}
	var rest []string
	for _, v := range h[name] {
		for p := range strings.SplitSeq(v, ",") {
			p = strings.TrimSpace(p)
			t, ok := strings.CutPrefix(p, protocolTag)
			switch {
			case !ok:
				rest = append(rest, p)
			case !fetched:
				tag = t
			}
		}
	}
	delete(h, name)
	if len(rest) > 0 {
		h[name] = []string{strings.Join(rest, ", ")}
	}
	return tag
}
