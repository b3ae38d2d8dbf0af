package binding

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/dispatch"
	"atoll.dev/atoll/internal/hop"
	"atoll.dev/atoll/internal/invocation"
	"atoll.dev/atoll/internal/isolate"
)

// RPC between Workers goes by connections that the engine's own protocol is spoken over, which the node joins and does not
// read. What the node has to know of a call it is told beside: docs/services.md tells how.

const (
	// connectWait is how long a start of the called Worker may take.
	connectWait = 30 * time.Second
	// askWait is how long a process may take to ask for a connection for a session that it has told of.
	askWait = 2 * time.Second
)

var errNotAsked = errors.New("an RPC connection was not asked for")

// nonces are the numbers that js/service.js makes up.
var nonces = regexp.MustCompile(`^[0-9a-f]{32}$`)

// connect joins a process's connection for RPC with a process of the Worker that the binding is to.
func (b *Border) connect(w http.ResponseWriter, r *http.Request, p *isolate.Process, binding, index int) {
	var err error
	for range 3 {
		l, first := b.lanes.ask(laneKey{p, binding, index})
		if err = b.join(w, r, l, first); !errors.Is(err, hop.ErrRefused) {
			b.lanes.leave(l)
			break
		}
		b.lanes.end(l) // the process died while nobody was looking
	}
	if err != nil {
		b.lg.Debug("RPC connection failed", "script", p.Spec.Ref.String(), "isolate", p.ID, "binding", p.Spec.Version.Bindings[binding].Name, "err", err)
		http.Error(w, "no connection", http.StatusBadGateway) // the caller is told by begin
	}
}

// join connects by the lane and returns when the connection has ended, or why there is none.
func (b *Border) join(w http.ResponseWriter, r *http.Request, l *lane, first bool) error {
	if first {
		line, err := b.hold(r.Context(), l.key)
		b.lanes.leads(l, line, err)
		if err == nil {
			line.Process.Retired(func() { b.lanes.replace(l) })
			go b.lanes.tend(l, line.Wall()) // ends with the lane
		}
	}
	<-l.ready
	if l.err != nil {
		return l.err
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(l.ctx, cancel)()
	c, err := l.line.Connect(ctx)
	if err == nil {
		hop.RelayConnect(ctx, w, c)
	}
	return err
}

// hold takes hold of a process that the lane is to lead to.
func (b *Border) hold(ctx context.Context, key laneKey) (*dispatch.Line, error) {
	var f fields
	if err := json.Unmarshal(key.process.Spec.Version.Bindings[key.binding].Fields, &f); err != nil {
		return nil, fmt.Errorf("read binding: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, connectWait, dispatch.ErrCrashed)
	defer cancel()
	return b.Hold(ctx, f.target(key.process), key.process.Outbound)
}

// target is the script that a service binding is to.
func (f fields) target(p *isolate.Process) atoll.ScriptRef {
	return atoll.ScriptRef{Account: p.Spec.Ref.Account, Name: atoll.ScriptName(f.Service)}
}

// rpc answers what a service binding asks about its sessions: "NONCE LANE" tells of a new one, "why LANE" asks what became
// of one that broke off.
func (b *Border) rpc(w http.ResponseWriter, r *http.Request, p *isolate.Process, binding int, f fields, question string) error {
	word, index, _ := strings.Cut(question, " ")
	lane, err := strconv.Atoi(index)
	if err != nil || lane < 0 || lane >= isolate.Lanes || word != "why" && !nonces.MatchString(word) {
		return fmt.Errorf("a service binding asks %q", question)
	}
	key := laneKey{p, binding, lane}
	if word == "why" {
		err = b.why(key)
	} else {
		err = b.begin(r, f, key, word)
	}
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

func (b *Border) why(key laneKey) error {
	l := b.lanes.find(key)
	switch {
	case l == nil:
		return nil
	case b.lanes.outlasted(l):
		return dispatch.ErrWall
	}
	return l.line.Broken()
}

// begin registers the session that comes by a lane. Where it is refused, the Worker that is called is told so, too, which
// throws it then.
func (b *Border) begin(r *http.Request, f fields, key laneKey, nonce string) error {
	l := b.lanes.await(key)
	wait := time.NewTimer(askWait)
	defer wait.Stop()
	select {
	case <-l.asked:
	case <-wait.C:
		b.lanes.forget(l)
		return errNotAsked
	}
	select {
	case <-l.ready: // soon enough, by connectWait
	case <-r.Context().Done():
		return context.Cause(r.Context())
	}
	if l.err != nil {
		return l.err
	}
	s, v, err := b.session(r, l)
	end := func() {
		if s != nil {
			b.lanes.done(v)
			s.End()
		}
	}
	told := b.sessions.tell(sessionKey{l.line.Process, nonce}, offer{s, v, f.Entrypoint, f.Props}, err, end)
	if told != nil {
		end()
	}
	return errors.Join(err, told)
}

// session makes the invocation of a session by a lane.
func (b *Border) session(r *http.Request, l *lane) (*dispatch.Session, *visit, error) {
	from, err := attribute(l.key.process, takeTag(r.Header))
	if err != nil {
		return nil, nil, err
	}
	v := b.lanes.begin(l)
	if v == nil {
		return nil, nil, dispatch.ErrBusy
	}
	s, err := l.line.Begin(invocation.Options{Outbound: from.outbound, Hops: from.hops + 1})
	if err != nil {
		b.lanes.done(v)
	}
	return s, v, err
}

// claim answers a process that asks about a session that has come to it, and goes on answering until the session ends.
func (b *Border) claim(w http.ResponseWriter, r *http.Request, p *isolate.Process) {
	o, err := b.sessions.claim(r.Context(), sessionKey{p, r.Header.Get(isolate.HeaderSession)})
	if err != nil {
		throw(w, dispatch.AsException(err))
		return
	}
	defer func() {
		b.lanes.done(o.visit)
		o.invocation.End()
	}()
	props := o.props
	if props == nil {
		props = json.RawMessage("null")
	}
	if json.NewEncoder(w).Encode(map[string]any{"tag": o.invocation.Tag, "entrypoint": o.entrypoint, "props": props}) != nil {
		return
	}
	if http.NewResponseController(w).Flush() != nil {
		return
	}
	<-r.Context().Done()
}
