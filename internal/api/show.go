package api

import (
	"encoding/json"
	"fmt"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/store"
	"atoll.dev/atoll/internal/wire"
)

// This file turns scripts, versions and deployments into the shapes of the API.

// showScript returns a script with the version that it runs.
func showScript(s *atoll.Script) wire.Script {
	out := wire.Script{
		ID: string(s.Ref.Name), Tag: s.Tag, Tags: orEmpty(s.Tags), Handlers: []string{}, NamedHandlers: []wire.NamedHandlers{},
		CompatibilityFlags: []string{}, LastDeployedFrom: s.LastDeployedFrom, Logpush: s.Logpush, MigrationTag: s.MigrationTag,
		Observability: s.Observability, TailConsumers: s.TailConsumers, UsageModel: standard,
		DispatchNamespace: string(s.Ref.Namespace), CreatedOn: wire.Time{Time: s.Created}, ModifiedOn: wire.Time{Time: s.Modified},
	}
	v := s.Version
	if v == nil {
		return out
	}
	out.Etag = v.Etag
	out.Handlers = orEmpty(v.Handlers)
	out.NamedHandlers = showNamed(v.NamedHandlers)
	out.CompatibilityDate = v.CompatibilityDate
	out.CompatibilityFlags = orEmpty(v.CompatibilityFlags)
	out.HasAssets = v.Assets != nil
	out.HasModules = v.MainModule != ""
	out.Limits = showLimits(v.Limits)
	out.Placement, out.PlacementMode = v.Placement, placementMode(v.Placement)
	out.UsageModel = usageModel(v)
	out.CacheOptions = v.Extra["cache_options"]
	out.Exports = v.Extra["exports"]
	return out
}

// standard is the one usage model of a node.
const standard = "standard"

func usageModel(v *atoll.Version) string {
	if v.UsageModel == "" {
		return standard
	}
	return v.UsageModel
}

// showUpload returns what an upload has made: the script, and the new version where that is not what the script runs.
func showUpload(s *atoll.Script, v *atoll.Version) wire.Upload {
	shown := *s
	shown.Version = v
	entry := v.MainModule
	if entry == "" {
		entry = v.BodyPart
	}
	return wire.Upload{Script: showScript(&shown), StartupTimeMs: v.StartupMs, DeploymentID: string(v.ID),
		EntryPoint: entry, Bindings: showBindings(v)}
}

// showSettings returns the settings of a script, with the metadata fields that the node does not know.
func showSettings(s *atoll.Script) (any, error) {
	v := s.Version
	if v == nil {
		v = &atoll.Version{}
	}
	return withExtra(wire.Settings{
		Bindings: showBindings(v), CompatibilityDate: v.CompatibilityDate, CompatibilityFlags: orEmpty(v.CompatibilityFlags),
		Limits: showLimits(v.Limits), Logpush: s.Logpush, MigrationTag: s.MigrationTag, Observability: s.Observability,
		Placement: v.Placement, Tags: orEmpty(s.Tags), TailConsumers: s.TailConsumers, UsageModel: usageModel(v),
	}, v.Extra)
}

func showScriptSettings(s *atoll.Script) wire.ScriptSettings {
	return wire.ScriptSettings{Tags: orEmpty(s.Tags), Logpush: s.Logpush, Observability: s.Observability, TailConsumers: s.TailConsumers}
}

// showBindings returns the bindings as they were uploaded, without the values of secrets.
func showBindings(v *atoll.Version) []json.RawMessage {
	out := make([]json.RawMessage, 0, len(v.Bindings))
	for _, b := range v.Bindings {
		if b.Type == "durable_object_namespace" {
			out = append(out, withNamespaceID(b.Fields, v.Classes))
			continue
		}
		out = append(out, b.Fields)
	}
	return out
}

// withNamespaceID is a binding to a class with the id of its objects' namespace, which Terraform and the SDKs read from it.
func withNamespaceID(binding json.RawMessage, classes []atoll.Class) json.RawMessage {
	var fields map[string]json.RawMessage
	var name string
	if json.Unmarshal(binding, &fields) != nil || fields["namespace_id"] != nil || json.Unmarshal(fields["class_name"], &name) != nil {
		return binding
	}
	class, ok := atoll.FindClass(classes, name)
	if !ok {
		return binding
	}
	fields["namespace_id"] = json.RawMessage(`"` + class.ID + `"`)
	out, err := json.Marshal(fields)
	if err != nil {
		return binding
	}
	return out
}

// isSecret reports whether the API shows a binding in lists of secrets.
func isSecret(b atoll.Binding) bool { return b.Type == "secret_text" || b.Type == "secret_key" }

func showSecrets(v *atoll.Version) []wire.Secret {
	out := []wire.Secret{}
	if v == nil {
		return out
	}
	for _, b := range v.Bindings {
		if isSecret(b) {
			out = append(out, wire.Secret{Name: b.Name, Type: b.Type})
		}
	}
	return out
}

func (a *API) showVersion(s *atoll.Script, v *atoll.Version) wire.Version {
	return wire.Version{
		ID: string(v.ID), Number: v.Number, Annotations: annotations(v.Annotations), StartupTimeMs: v.StartupMs,
		Metadata: wire.VersionMetadata{CreatedOn: wire.Time{Time: v.Created}, ModifiedOn: wire.Time{Time: v.Created},
			Source: v.Source, AuthorID: a.author(s.Ref.Account), AuthorEmail: a.email(), HasAssets: v.Assets != nil},
		Resources: wire.VersionResources{
			Bindings: showBindings(v),
			Script: wire.VersionScript{Etag: v.Etag, Handlers: orEmpty(v.Handlers), NamedHandlers: showNamed(v.NamedHandlers),
				LastDeployedFrom: v.Source, PlacementMode: placementMode(v.Placement)},
			ScriptRuntime: wire.VersionRuntime{CompatibilityDate: v.CompatibilityDate, CompatibilityFlags: orEmpty(v.CompatibilityFlags),
				UsageModel: usageModel(v), Limits: showLimits(v.Limits), MigrationTag: s.MigrationTag},
		},
	}
}

func (a *API) showDeployment(d store.Deployment) wire.Deployment {
	out := wire.Deployment{ID: d.ID, Source: d.Source, Strategy: d.Strategy, AuthorEmail: a.email(),
		Annotations: annotations(d.Annotations), CreatedOn: wire.Time{Time: d.Created}, Versions: []wire.DeploymentVersion{}}
	for _, v := range d.Versions {
		out.Versions = append(out.Versions, wire.DeploymentVersion{VersionID: string(v.VersionID), Percentage: v.Percentage})
	}
	return out
}

func showNamed(in []atoll.NamedHandlers) []wire.NamedHandlers {
	out := make([]wire.NamedHandlers, 0, len(in))
	for _, h := range in {
		out = append(out, wire.NamedHandlers{Name: h.Name, Handlers: orEmpty(h.Handlers)})
	}
	return out
}

func showLimits(l atoll.Limits) *wire.Limits {
	if l == (atoll.Limits{}) {
		return nil
	}
	return &wire.Limits{CPUMs: l.CPUMs, Subrequests: l.SubRequests}
}

// placementMode is the mode of a placement. Placement is stored and shown; a node has one place.
func placementMode(placement json.RawMessage) string {
	var p struct{ Mode string }
	if json.Unmarshal(placement, &p) != nil {
		return ""
	}
	return p.Mode
}

// orEmpty makes an empty list of nil, which JSON would show as null: clients call methods on these.
func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func annotations(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

// withExtra returns v's JSON object with the fields of extra that it does not have.
func withExtra(v any, extra map[string]json.RawMessage) (any, error) {
	if len(extra) == 0 {
		return v, nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("write settings as JSON: %w", err)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, fmt.Errorf("read settings back: %w", err)
	}
	for name, value := range extra {
		if _, ok := all[name]; !ok {
			all[name] = value
		}
	}
	return all, nil
}
