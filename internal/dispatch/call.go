package dispatch

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/hop"
	"atoll.dev/atoll/internal/invocation"
	"atoll.dev/atoll/internal/isolate"
	"atoll.dev/atoll/internal/limits"
)

// Call is one request to a script.
type Call struct {
	Script     atoll.ScriptRef
	Request    *hop.Request
	Proto      string                     // the URL's scheme: "http" or "https"
	Cf         string                     // request.cf as JSON; seen by trusted Workers only
	Entrypoint string                     // a named export; empty: the default one
	Limits     invocation.Limits          // of this one call; the lowest of all that apply wins
	Outbound   *invocation.Outbound       // where its subrequests go; nil: out
	OnBehalf   bool                       // it is a subrequest that goes to an outbound Worker
	Params     map[string]json.RawMessage // what its env has beside the bindings; nil: nothing
	Props      json.RawMessage            // its context's props; nil: none
	Hops       int                        // how many Workers called one another before this call
	Asked      Asked                      // what Static said of the request
	Tenant     string                     // who it is for, where a Worker is called that serves many: they take turns; empty: nobody in particular

	event map[string]any // an event that is no request; nil: it is one
}

// Reply is a script's response. Close must be called when it has been relayed.
type Reply struct {
	*hop.Response
	process    *isolate.Process
	invocation *invocation.Invocation
	leave      func()
	closed     func()             // it is no WebSocket any more; nil: it is none
	cancel     context.CancelFunc // nil: the call has no time limit
}

// Close ends the exchange and lets go of the process.
func (r *Reply) Close() {
	if r.Response != nil {
		r.Body.Close()
	}
	if r.process == nil {
		return // it came from the script's assets
	}
	if r.cancel != nil {
		r.cancel()
	}
	r.invocation.End()
	r.process.Meter.End()
	if r.closed != nil {
		r.closed()
	}
	r.process.Release()
	r.leave()
}

// Exception is what a Worker threw, or what became of it instead of an answer.
type Exception struct {
	Name    string `json:"name"` // "Error", "TypeError", ...
	Message string `json:"message"`
	Stack   string `json:"stack,omitempty"`
}

func (e *Exception) Error() string { return e.Name + ": " + e.Message }

// Pack returns e as the value of isolate.HeaderError.
func (e *Exception) Pack() string {
	b, _ := json.Marshal(Exception{Name: e.Name, Message: e.Message}) // strings always marshal
	return base64.StdEncoding.EncodeToString(b)
}

// maxHops is how many Workers may call one another for one request:
// https://developers.cloudflare.com/workers/platform/limits/#simultaneous-open-connections and the pages it links.
const maxHops = 32

// Do carries a call to a process of its script and returns the response. The error's chain has a fault of kind NotFound
// for a missing script, and an *Exception for what went wrong in the Worker.
func (d *Dispatcher) Do(ctx context.Context, c Call) (*Reply, error) {
	if c.Hops > maxHops {
		return nil, fmt.Errorf("call %s: %w", c.Script, ErrTooDeep)
	}
	if reply, err := d.fromAssets(ctx, &c); reply != nil || err != nil {
		return reply, err
	}
	for range 3 {
		reply, err := d.try(ctx, c)
		if err == nil && c.Asked.images {
			return onlyImages(reply), nil
		}
		if !errors.Is(err, hop.ErrRefused) {
			return reply, err
		}
		// The process died while nobody was looking; nothing has been sent yet.
	}
	return nil, fmt.Errorf("call %s: %w", c.Script, ErrCrashed)
}

func (d *Dispatcher) try(ctx context.Context, c Call) (*Reply, error) {
	sc := d.script(c.Script)
	leave, err := sc.enter(c.Request.Upgrade, d.opts)
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", c.Script, err)
	}
	if c.event != nil {
		c.Outbound = d.outboundOfEvents(ctx, sc)
	}
	turn, err := sc.turn(ctx, c)
	if err != nil {
		leave()
		return nil, fmt.Errorf("call %s: %w", c.Script, err)
	}
	defer turn.leave() // it has answered, if it has not asked for anything before
	p, limits, err := d.acquire(ctx, c.Script, c.Limits, c.Outbound.Key())
	if err == nil {
		if err = d.ready(ctx, sc, p, limits, c.Outbound); err != nil {
			p.Release()
		}
	}
	if err != nil {
		leave()
		return nil, err
	}
	inv := p.Invocations.Begin(invocation.Options{Ray: c.Request.Header.Get("Cf-Ray"), Limits: limits, Outbound: c.Outbound, OnBehalf: c.OnBehalf, Hops: c.Hops,
		Request: invocation.Request{Header: c.Request.Header, Cf: c.visibleCf(p)}, Attended: turn.leave})
	reply := &Reply{process: p, invocation: inv, leave: leave}
	began := time.Now()
	p.Meter.Begin()
	if !c.Request.Upgrade && !d.opts.WithoutLimits {
		ctx, reply.cancel = context.WithTimeoutCause(ctx, d.opts.Wall, ErrWall)
	}
	reply.Response, err = p.Client.Do(ctx, c.onWire(p, inv))
	if err == nil {
		err = failure(reply.Response)
	}
	if err == nil {
		if reply.StatusCode == http.StatusSwitchingProtocols {
			reply.closed = p.WebSocket()
		}
		return reply, nil
	}
	if isEngines(err) && p.Meter.Claim() {
		err = ErrCPU
	}
	over := context.Cause(ctx)
	reply.Close()
	switch {
	case over != nil:
		err = over
	case errors.Is(err, hop.ErrRefused):
		<-p.Done() // its own end closes the socket; where the kernel has not told us yet, it is about to
		sc.remove(p)
		return nil, err
	case errors.Is(err, hop.ErrBroken):
		// A process that breaks off an exchange is dying. It gets no more requests.
		sc.remove(p)
		p.Retire()
		d.lg.Debug("exchange failed", "script", c.Script.String(), "isolate", p.ID, "err", err)
		err = d.ending(p, began)
	}
	return nil, fmt.Errorf("call %s: %w", c.Script, err)
}

// ready waits until the process may begin a call.
func (d *Dispatcher) ready(ctx context.Context, sc *script, p *isolate.Process, limits invocation.Limits, outbound *invocation.Outbound) error {
	if len(p.Spec.Classes) > 0 {
		if err := d.stand(ctx, sc, p, limits, outbound); err != nil {
			return err
		}
	}
	if sc.ref.Namespace == "" {
		return nil // all tenants wait for a platform Worker
	}
	return cool(ctx, p)
}

// cool waits until the process, of whose invocations some have been ended for what they used, may begin another one. Others
// that end meanwhile prolong that, but for no longer than it can be for one.
func cool(ctx context.Context, p *isolate.Process) error {
	for waited := time.Duration(0); waited < limits.MaxCooldown; {
		d := p.Meter.Cooldown()
		if d == 0 {
			return nil
		}
		select {
		case <-time.After(d):
			waited += d
		case <-p.Done(): // the call finds out
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// onWire adds what the process is to know of the call.
func (c Call) onWire(p *isolate.Process, inv *invocation.Invocation) *hop.Request {
	req := *c.Request
	req.Extra = append(make([]string, 0, len(req.Extra)+8), req.Extra...)
	if req.Header == nil {
		req.Header = http.Header{}
	}
	req.Header["Cf-Ray"] = []string{inv.Tag}
	req.Extra = append(req.Extra, isolate.HeaderProto, c.Proto)
	if cf := c.visibleCf(p); cf != "" {
		req.Extra = append(req.Extra, isolate.HeaderCf, cf)
	}
	if c.Entrypoint != "" || c.event != nil || c.Params != nil || c.Props != nil {
		req.Extra = append(req.Extra, isolate.HeaderControl, isolate.Control(c.Entrypoint, c.event, c.Params, c.Props))
	}
	if lanes := p.LaneNews(); lanes != "" {
		req.Extra = append(req.Extra, isolate.HeaderLanes, lanes)
	}
	return &req
}

// visibleCf is request.cf as the process may see it.
func (c Call) visibleCf(p *isolate.Process) string {
	if !p.Spec.Version.Trusted {
		return ""
	}
	return c.Cf
}

// ending is what became of a request, begun then, whose process broke off.
func (d *Dispatcher) ending(p *isolate.Process, began time.Time) error {
	if p.Meter.Claim() {
		return ErrCPU // what was stopped had begun to answer
	}
	select {
	case <-p.Exited():
	case <-time.After(2 * time.Second): // it lives, but does not speak HTTP
		return ErrCrashed
	}
	switch cause := p.Cause(); {
	case errors.Is(cause, isolate.ErrMemory):
		return ErrMemory
	case errors.Is(cause, isolate.ErrCPU) && time.Since(began) >= p.Meter.Limit(): // a younger one cannot be the one that was over it
		return ErrCPU
	}
	return ErrCrashed
}

// failure tells a response that stands for an exception from one that the Worker made.
func failure(res *hop.Response) error {
	if res.StatusCode != http.StatusInternalServerError {
		return nil
	}
	if packed := res.Header.Get(isolate.HeaderException); packed != "" {
		return unpack(packed)
	}
	if res.Header.Get(isolate.HeaderResponse) == "" {
		return ErrNeverResponds
	}
	return nil
}

// isEngines tells whether an error is the engine's own, by which it fails what was stopped in the middle: the request
// itself, or what the Worker called in a Durable Object.
func isEngines(err error) bool {
	var e *Exception
	return errors.As(err, &e) && (e == ErrNeverResponds || strings.HasPrefix(e.Message, "internal error; reference = "))
}

func unpack(packed string) *Exception {
	var e Exception
	b, err := base64.StdEncoding.DecodeString(packed)
	if err == nil {
		err = json.Unmarshal(b, &e)
	}
	if err != nil {
		return &Exception{Name: "Error", Message: "exception without a message"}
	}
	return &e
}

// Event runs a handler that answers nothing, such as scheduled(). fields are the event's, with its type; the returned
// bool is false when the handler asked not to be retried.
func (d *Dispatcher) Event(ctx context.Context, ref atoll.ScriptRef, fields map[string]any) (retry bool, err error) {
	req := &hop.Request{Method: http.MethodPost, Target: "/", Host: "atoll"}
	reply, err := d.Do(ctx, Call{Script: ref, Request: req, Proto: "https", event: fields})
	if err != nil {
		return true, err
	}
	defer reply.Close()
	var answer struct{ Retry bool }
	err = json.NewDecoder(io.LimitReader(reply.Body, 1<<10)).Decode(&answer)
	return answer.Retry || err != nil, err
}

// Deliver runs queue() with a batch of messages, which is the body of the event, and returns what the wrapper says became of
// it. The error's chain has an *Exception where the Worker was called and gave no answer; see Called.
func (d *Dispatcher) Deliver(ctx context.Context, ref atoll.ScriptRef, batch []byte, maxAnswer int64) ([]byte, error) {
	req := &hop.Request{Method: http.MethodPost, Target: "/", Host: "atoll", Body: bytes.NewReader(batch), Length: int64(len(batch))}
	reply, err := d.Do(ctx, Call{Script: ref, Request: req, Proto: "https", event: map[string]any{"type": "queue"}})
	if err != nil {
		return nil, err
	}
	defer reply.Close()
	return io.ReadAll(io.LimitReader(reply.Body, maxAnswer))
}

// Called tells whether a call that failed with err has reached the Worker's code.
func Called(err error) bool {
	var e *Exception
	return errors.As(err, &e) && e != ErrBusy && e != ErrSockets && e != ErrCrashLoop && e != ErrTooDeep
}

// AsException returns what a dispatch Worker is thrown for err.
func AsException(err error) *Exception {
	var e *Exception
	if errors.As(err, &e) {
		return e
	}
	return &Exception{Name: "Error", Message: "internal error"}
}
