package api

import (
	"encoding/json"
	"fmt"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/store"
	"atoll.dev/atoll/internal/wire"
)

// getService returns an account script in the older form of a service with one environment. wrangler takes 10090 for a
// Worker that is not there yet.
func (a *API) getService(q *request) (any, error) {
	s, err := a.Store.Script(q.Context(), q.ref)
	if fault.KindOf(err) == fault.NotFound {
		return nil, fault.New(fault.NotFound, 10090, "workers.api.error.service_not_found")
	}
	if err != nil {
		return nil, fmt.Errorf("find script: %w", err)
	}
	shown := showScript(s)
	env := wire.EnvironmentSummary{Environment: production, CreatedOn: shown.CreatedOn, ModifiedOn: shown.ModifiedOn}
	return wire.Service{ID: shown.ID, CreatedOn: shown.CreatedOn, ModifiedOn: shown.ModifiedOn, UsageModel: shown.UsageModel,
		DefaultEnvironment: wire.Environment{EnvironmentSummary: env, Script: shown}, Environments: []wire.EnvironmentSummary{env}}, nil
}

// production is the name of the one environment of every service.
const production = "production"

// getWorker returns an account script as a Worker resource: wrangler reads subdomain from it after an upload.
func (a *API) getWorker(q *request) (any, error) {
	s, err := a.script(q)
	if err != nil {
		return nil, err
	}
	enabled, previews, err := a.Store.ScriptSubdomain(q.Context(), q.ref)
	if err != nil {
		return nil, fmt.Errorf("find subdomain of script: %w", err)
	}
	refs, err := a.references(q)
	if err != nil {
		return nil, err
	}
	out := wire.Worker{
		ID: s.Tag, Name: string(s.Ref.Name), CreatedOn: wire.Time{Time: s.Created}, UpdatedOn: wire.Time{Time: s.Modified},
		Logpush: s.Logpush, Observability: s.Observability, Tags: orEmpty(s.Tags), TailConsumers: s.TailConsumers,
		Subdomain: wire.ScriptSubdomain{Enabled: enabled, PreviewsEnabled: previews},
		References: wire.WorkerReferences{DispatchNamespaceOutbounds: refs.DispatchOutbounds, Domains: []json.RawMessage{},
			DurableObjects: []json.RawMessage{}, Queues: []json.RawMessage{}, Workers: refs.Services.Incoming},
	}
	if s.Version != nil {
		out.DeployedOn = &wire.Time{Time: s.Modified}
	}
	return out, nil
}

// getReferences tells which account scripts use this one: wrangler asks before it deletes it.
func (a *API) getReferences(q *request) (any, error) {
	if _, err := a.script(q); err != nil {
		return nil, err
	}
	return a.references(q)
}

// reference is what a binding may say of another script.
type reference struct {
	Service   string `json:"service"`
	Namespace string `json:"namespace"`
	Outbound  struct {
		Worker struct {
			Service string `json:"service"`
		} `json:"worker"`
		Params []json.RawMessage `json:"params"` // {"name":"x"} or "x"
	} `json:"outbound"`
}

// references looks through the bindings of the account's scripts, of which a platform has a handful. User Workers, of which
// it may have a million, are not looked through.
func (a *API) references(q *request) (wire.References, error) {
	out := wire.References{
		Services:       wire.ServiceReferences{Incoming: []wire.ServiceReference{}, Outgoing: []wire.ServiceReference{}},
		DurableObjects: []json.RawMessage{}, DispatchOutbounds: []wire.DispatchOutbound{},
	}
	err := a.eachAccountScript(q, func(s *atoll.Script) {
		if s.Version == nil {
			return
		}
		for _, b := range s.Version.Bindings {
			var r reference
			if (b.Type != "service" && b.Type != "dispatch_namespace") || json.Unmarshal(b.Fields, &r) != nil {
				continue
			}
			from := wire.ServiceReference{Name: b.Name, Service: string(s.Ref.Name), Environment: production}
			if b.Type == "service" && r.Service == string(q.ref.Name) {
				out.Services.Incoming = append(out.Services.Incoming, from)
			}
			if b.Type == "service" && s.Ref == q.ref {
				out.Services.Outgoing = append(out.Services.Outgoing, wire.ServiceReference{Name: b.Name, Service: r.Service, Environment: production})
			}
			if r.Outbound.Worker.Service == string(q.ref.Name) {
				out.DispatchOutbounds = append(out.DispatchOutbounds, wire.DispatchOutbound{ServiceReference: from, Namespace: r.Namespace, Params: outboundParams(r.Outbound.Params)})
			}
		}
	})
	return out, err
}

func outboundParams(in []json.RawMessage) []wire.NamedArg {
	out := []wire.NamedArg{}
	for _, b := range in {
		var p wire.NamedArg
		if json.Unmarshal(b, &p) != nil && json.Unmarshal(b, &p.Name) != nil {
			continue
		}
		out = append(out, p)
	}
	return out
}

// listTailProducers lists the account scripts whose tail events go to the script of the path.
func (a *API) listTailProducers(q *request) (any, error) {
	out := []wire.TailProducer{}
	err := a.eachAccountScript(q, func(s *atoll.Script) {
		var consumers []struct{ Service string }
		if json.Unmarshal(s.TailConsumers, &consumers) != nil {
			return
		}
		for _, c := range consumers {
			if c.Service == string(q.ref.Name) {
				out = append(out, wire.TailProducer{Tag: s.Tag,
					Producer:  wire.ServiceEnd{Service: string(s.Ref.Name), Environment: production},
					Consumer:  wire.ServiceEnd{Service: c.Service, Environment: production},
					CreatedOn: wire.Time{Time: s.Created}, ModifiedOn: wire.Time{Time: s.Modified}})
			}
		}
	})
	return out, err
}

// eachAccountScript calls do for every script of the account itself.
func (a *API) eachAccountScript(q *request, do func(*atoll.Script)) error {
	for cursor := ""; ; {
		list, next, err := a.Store.Scripts(q.Context(), q.account, "", store.ScriptFilter{Cursor: cursor, Limit: 100})
		if err != nil {
			return fmt.Errorf("list scripts: %w", err)
		}
		for _, s := range list {
			do(s)
		}
		if next == "" {
			return nil
		}
		cursor = next
	}
}
