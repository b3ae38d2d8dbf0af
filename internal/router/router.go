// Package router decides, for a route with a built-in router, which user Worker a request is for and with what limits: what
// a dispatch Worker would do, without one.
//
// It sees a host and a path and, where the router has them, KV records that the platform's operator writes. It sees no
// header, so that nothing else of a request can choose a tenant. It calls nobody: the edge does, with the [Target].
//
// Its invariant: a target is in the router's own namespace, and its limits are those that the operator wrote. A record that
// cannot be read or understood is an error, never a call without limits.
//
// Everything may be called concurrently.
package router

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/invocation"
)

// MaxRecord is how many bytes a KV record may have.
const MaxRecord = 16 << 10

// Records reads a value of a KV namespace that has at most so many bytes; ok is false where the key has none.
type Records func(ctx context.Context, namespace, key string, most int64) (value []byte, ok bool, err error)

// Target is what a request is for.
type Target struct {
	Script   atoll.ScriptRef
	Limits   invocation.Limits
	Outbound *invocation.Outbound
}

// Find returns whom a request to a host, without a port, and a path is for. Where it is for nobody the error is a fault of
// kind NotFound.
func Find(ctx context.Context, account atoll.AccountID, r *atoll.Router, host, path string, records Records) (Target, error) {
	key := name(r.Kind, host, path)
	if key == "" {
		return Target{}, nobody(key)
	}
	var rec record
	if r.KV != "" {
		var err error
		if rec, err = read(ctx, r, key, records); err != nil {
			return Target{}, err
		}
	}
	script := rec.Script
	if script == "" && r.Kind != atoll.ByKV {
		script = key
	}
	parsed, err := atoll.ParseScriptName(script)
	if err != nil {
		return Target{}, nobody(key) // a name that no Worker can have
	}
	ref := atoll.ScriptRef{Account: account, Namespace: r.Namespace, Name: parsed}
	return Target{Script: ref, Limits: rec.limits(r), Outbound: rec.outbound(account, r)}, nil
}

// name is whom a request is for, as its kind says: a script's name or a record's key. It is empty where there is none.
func name(kind atoll.RouterKind, host, path string) string {
	switch kind {
	case atoll.BySubdomain:
		label, _, _ := strings.Cut(strings.ToLower(host), ".")
		return label
	case atoll.ByPath:
		segment, _, _ := strings.Cut(strings.TrimLeft(path, "/"), "/")
		return segment
	case atoll.ByKV:
		return strings.ToLower(host)
	}
	return ""
}

func nobody(key string) error {
	return fault.Newf(fault.NotFound, 10007, "no Worker answers for %q", key)
}

// record is what KV has of a customer.
type record struct {
	Script string `json:"script"`
	Plan   string `json:"plan"`
	Limits *struct {
		CPUMs       float64 `json:"cpuMs"`
		SubRequests float64 `json:"subRequests"`
	} `json:"limits"`
	Outbound map[string]json.RawMessage `json:"outbound"`
}

// read returns the record of a key. Without one, a router by KV knows nobody of that name, and others know no more of it.
func read(ctx context.Context, r *atoll.Router, key string, records Records) (record, error) {
	if len(key) > maxKey {
		return record{}, nobody(key[:maxKey])
	}
	value, ok, err := records(ctx, r.KV, key, MaxRecord)
	if err != nil {
		return record{}, fmt.Errorf("read the router's record of %q: %v", key, err) // no fault of the client's
	}
	if !ok {
		if r.Kind == atoll.ByKV {
			return record{}, nobody(key)
		}
		return record{}, nil
	}
	rec, err := parse(r.Kind, value)
	if err != nil {
		return rec, fmt.Errorf("the router's record of %q: %w", key, err)
	}
	return rec, nil
}

// maxKey is how many bytes a key of KV may have, and more than the name of a host or a script.
const maxKey = 512

// parse reads a record: a JSON object, or a bare word, which is the script to a router by KV and the plan to others, as in
// the tables that platforms keep for dispatch Workers:
// https://developers.cloudflare.com/cloudflare-for-platforms/workers-for-platforms/configuration/dynamic-dispatch/
func parse(kind atoll.RouterKind, value []byte) (rec record, err error) {
	word := strings.TrimSpace(string(value))
	switch {
	case strings.HasPrefix(word, "{"):
		if err := json.Unmarshal(value, &rec); err != nil {
			return rec, fmt.Errorf("not a record: %w", err)
		}
	case kind == atoll.ByKV:
		rec.Script = word
	default:
		rec.Plan = word
	}
	if l := rec.Limits; l != nil && (l.CPUMs < 0 || l.SubRequests < 0) {
		return rec, fmt.Errorf("limits of %v ms and %v subrequests", l.CPUMs, l.SubRequests)
	}
	return rec, nil
}

// Bounds of a record's limits: what is more is no limit of a call, and the node's and the namespace's apply.
const (
	mostCPUMs       = 300_000
	mostSubRequests = 1e9
)

// limits are the record's own, or those of its plan, or the router's: what sets a limit to nothing leaves it to the namespace.
func (rec record) limits(r *atoll.Router) invocation.Limits {
	if l := rec.Limits; l != nil {
		return invocation.Limits{
			CPU:         time.Duration(min(l.CPUMs, mostCPUMs) * float64(time.Millisecond)),
			SubRequests: int64(min(l.SubRequests, mostSubRequests)),
		}
	}
	set, ok := r.Plans[rec.Plan]
	if !ok {
		set = r.Limits
	}
	return invocation.Limits{CPU: time.Duration(set.CPUMs) * time.Millisecond, SubRequests: set.SubRequests}
}

// outbound is the router's outbound Worker with the parameters that it declares and the record sets.
func (rec record) outbound(account atoll.AccountID, r *atoll.Router) *invocation.Outbound {
	if r.Outbound == nil {
		return nil
	}
	out := &invocation.Outbound{
		Worker: atoll.ScriptRef{Account: account, Name: r.Outbound.Service},
		Params: map[string]json.RawMessage{},
	}
	for name, value := range rec.Outbound {
		if slices.Contains(r.Outbound.Parameters, name) {
			out.Params[name] = value
		}
	}
	return out
}
