package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/upload"
)

// merging says how the bindings of a new version come about.
type merging struct {
	strict      bool // an inherit without a binding to inherit is an error, else it is left out
	keepUnnamed bool // metadata without bindings keeps all; otherwise it has none
}

// mergeBindings sets the draft's bindings: those in the metadata, with inherited ones looked up, then those of the version
// before that keep_bindings keeps. A binding in the metadata goes before one of the same name that would be kept.
func (s *Service) mergeBindings(ctx context.Context, d *draft, md *upload.Metadata, how merging) error {
	if md.Bindings == nil && how.keepUnnamed {
		return d.keepParts(d.version.Bindings, d.base)
	}
	merged := make([]atoll.Binding, 0, len(md.Bindings))
	named := map[string]bool{}
	for _, b := range md.Bindings {
		named[b.Name] = true
		switch {
		case b.Type == "inherit":
			got, from, err := s.inherited(ctx, d, b)
			if err != nil {
				return err
			}
			if from == nil && how.strict {
				return fault.Newf(fault.Invalid, 10057, "binding %s cannot be inherited: the previous version has no binding of that name", b.Name)
			}
			if from == nil {
				continue
			}
			if err := d.keepParts([]atoll.Binding{got}, from); err != nil {
				return err
			}
			b = got
		case isSecret(b) && b.Secret == nil:
			kept, ok := find(d.base, b.Name)
			if !ok || kept.Type != b.Type {
				return fault.Newf(fault.Invalid, 10021, "binding %s of type %s must have a value: there is none to keep", b.Name, b.Type)
			}
			b = kept
		}
		merged = append(merged, b)
	}
	if d.base != nil {
		for _, b := range d.base.Bindings {
			if named[b.Name] || !slices.Contains(md.KeepBindings, b.Type) {
				continue
			}
			if err := d.keepParts([]atoll.Binding{b}, d.base); err != nil {
				return err
			}
			merged = append(merged, b)
		}
	}
	d.version.Bindings = merged
	return nil
}

// inherited finds the binding that b stands for, and the version it is from; nil where there is none.
func (s *Service) inherited(ctx context.Context, d *draft, b atoll.Binding) (atoll.Binding, *atoll.Version, error) {
	from := d.base
	if id := upload.StringField(b, "version_id"); id != "" && d.script != nil {
		want, err := atoll.ParseVersionID(id)
		if err != nil {
			return b, nil, err
		}
		if from, err = s.store.Version(ctx, d.ref, want); err != nil {
			return b, nil, err
		}
	}
	name := upload.StringField(b, "old_name")
	if name == "" {
		name = b.Name
	}
	got, ok := find(from, name)
	if !ok {
		return b, nil, nil
	}
	renamed, err := rename(got, b.Name)
	return renamed, from, err
}

// find returns the version's binding of that name.
func find(v *atoll.Version, name string) (atoll.Binding, bool) {
	if v != nil {
		for _, b := range v.Bindings {
			if b.Name == name {
				return b, true
			}
		}
	}
	return atoll.Binding{}, false
}

func rename(b atoll.Binding, name string) (atoll.Binding, error) {
	if b.Name == name {
		return b, nil
	}
	var obj map[string]json.RawMessage
	if err := json.Unmarshal(b.Fields, &obj); err != nil {
		return b, fmt.Errorf("read binding %s: %w", b.Name, err)
	}
	quoted, err := json.Marshal(name)
	if err != nil {
		return b, fmt.Errorf("rename binding %s: %w", b.Name, err)
	}
	obj["name"] = quoted
	b.Name = name
	b.Fields, err = json.Marshal(obj)
	return b, err
}

func isSecret(b atoll.Binding) bool { return b.Type == "secret_text" || b.Type == "secret_key" }

// keepParts carries over the modules that kept bindings are to, where the upload has none of that name.
func (d *draft) keepParts(kept []atoll.Binding, from *atoll.Version) error {
	for _, b := range kept {
		part := upload.BlobPart(b)
		if upload.BlobType(b.Type) == "" || hasModule(&d.version, part) {
			continue
		}
		i := slices.IndexFunc(from.Modules, func(m atoll.Module) bool { return m.Name == part })
		if i < 0 {
			return fmt.Errorf("binding %s of version %s is to the missing part %s", b.Name, from.ID, part)
		}
		d.version.Modules = append(slices.Clip(d.version.Modules), from.Modules[i])
	}
	return nil
}

func hasModule(v *atoll.Version, name string) bool {
	return slices.ContainsFunc(v.Modules, func(m atoll.Module) bool { return m.Name == name })
}

// checkBindings checks the draft's bindings together, and what those refer to that the version before does not have: a
// resource deleted since must not keep anyone from changing a secret.
func (s *Service) checkBindings(ctx context.Context, d *draft) error {
	if err := upload.CheckBindings(d.version.Bindings, s.opts.Limits); err != nil {
		return err
	}
	for _, b := range d.version.Bindings {
		if upload.BlobType(b.Type) != "" && !hasModule(&d.version, upload.BlobPart(b)) {
			return fault.Newf(fault.Invalid, 10021, "binding %s of type %s must have a valid `part` specified: no part %q was uploaded", b.Name, b.Type, upload.BlobPart(b))
		}
		if b.Type == "assets" && d.version.Assets == nil {
			return fault.Newf(fault.Invalid, 10021, "binding %s of type assets: the Worker has no static assets; name them in metadata.assets, or keep those it has with keep_assets", b.Name)
		}
		if b.Type == "durable_object_namespace" { // unlike others it is checked each time: migrations change what there is
			if err := d.classes.checkBinding(d.ref, b); err != nil {
				return err
			}
		}
		if old, ok := find(d.base, b.Name); ok && old.Type == b.Type && string(old.Fields) == string(b.Fields) {
			continue
		}
		if err := s.checkReference(ctx, d.ref, b); err != nil {
			return err
		}
	}
	return nil
}

// checkReference refuses a binding to what does not exist, or to what this node does not do yet.
func (s *Service) checkReference(ctx context.Context, ref atoll.ScriptRef, b atoll.Binding) error {
	switch b.Type {
	case "analytics_engine":
		return checkDataset(b)
	case "ratelimit":
		return checkRateLimit(b)
	case "queue":
		if err := checkDeliveryDelay(b); err != nil {
			return err
		}
	case "dispatch_namespace":
		if err := s.checkNamespace(ctx, ref, b); err != nil {
			return err
		}
		return s.checkOutbound(ctx, ref, b)
	case "service":
		return s.checkService(ctx, ref, b)
	}
	return s.checkResource(ctx, ref, b)
}

func (s *Service) checkNamespace(ctx context.Context, ref atoll.ScriptRef, b atoll.Binding) error {
	name, err := atoll.ParseNamespaceName(upload.StringField(b, "namespace"))
	if err == nil {
		_, err = s.store.Namespace(ctx, ref.Account, name)
	}
	if f := fault.Of(err); f != nil && f.Kind != fault.Internal {
		return fault.Newf(fault.Invalid, 100119, "binding %s of type dispatch_namespace: there is no dispatch namespace '%s'", b.Name, upload.StringField(b, "namespace"))
	}
	return err
}

// datasetName is what a dataset may be called: it is a table's name in SQL.
// https://developers.cloudflare.com/analytics/analytics-engine/get-started/
var datasetName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]{0,63}$`)

func checkDataset(b atoll.Binding) error {
	if name := upload.StringField(b, "dataset"); !datasetName.MatchString(name) {
		return fault.Newf(fault.Invalid, 10021, "binding %s of type analytics_engine: the dataset %.80q is not valid: names are up to 64 letters, digits, '_' and '-', and begin with a letter or '_'", b.Name, name)
	}
	return nil
}

// checkRateLimit makes sure that a limit is one: https://developers.cloudflare.com/workers/runtime-apis/bindings/rate-limit/
func checkRateLimit(b atoll.Binding) error {
	var f struct {
		Simple struct {
			Limit  float64 `json:"limit"`
			Period float64 `json:"period"`
		} `json:"simple"`
	}
	err := json.Unmarshal(b.Fields, &f)
	if l := f.Simple.Limit; err != nil || l < 1 || l > 1e9 || l != math.Trunc(l) || f.Simple.Period != 10 && f.Simple.Period != 60 {
		return fault.Newf(fault.Invalid, 10021, "binding %s of type ratelimit: `simple` must have a `limit`, a whole number from 1, and a `period` of 10 or 60 seconds", b.Name)
	}
	return nil
}

// maxDeliveryDelay is in seconds: https://developers.cloudflare.com/queues/platform/limits/
const maxDeliveryDelay = 24 * 3600

func checkDeliveryDelay(b atoll.Binding) error {
	var f struct {
		Delay *float64 `json:"delivery_delay"`
	}
	if err := json.Unmarshal(b.Fields, &f); err != nil {
		return fmt.Errorf("read binding %s: %w", b.Name, err)
	}
	if d := f.Delay; d != nil && (*d < 0 || *d > maxDeliveryDelay || *d != math.Trunc(*d)) {
		return fault.Newf(fault.Invalid, 10021, "binding %s of type queue: `delivery_delay` must be a whole number from 0 to %d", b.Name, maxDeliveryDelay)
	}
	return nil
}

// checkService makes sure that the account has the script a service binding is to. A script may bind itself, even in its
// first upload.
func (s *Service) checkService(ctx context.Context, ref atoll.ScriptRef, b atoll.Binding) error {
	name := upload.StringField(b, "service")
	ok, err := s.hasScript(ctx, ref, name)
	if err == nil && !ok {
		err = fault.Newf(fault.Invalid, 10143, "Could not resolve service binding '%s'. Target script '%s' not found. Please verify the target script and try again.", b.Name, name)
	}
	return err
}

// checkOutbound makes sure that the outbound Worker of a dispatch namespace binding, where it has one, is there: without it
// no subrequest would get through.
func (s *Service) checkOutbound(ctx context.Context, ref atoll.ScriptRef, b atoll.Binding) error {
	var f struct {
		Outbound *struct {
			Worker struct{ Service string }
		}
	}
	if err := json.Unmarshal(b.Fields, &f); err != nil {
		return fmt.Errorf("read binding %s: %w", b.Name, err)
	}
	if f.Outbound == nil {
		return nil
	}
	name := f.Outbound.Worker.Service
	ok, err := s.hasScript(ctx, ref, name)
	if err == nil && !ok {
		err = fault.Newf(fault.Invalid, 10143, "binding %s of type dispatch_namespace: the account has no script '%s' to be the outbound Worker", b.Name, name)
	}
	return err
}

// hasScript tells whether the account has a script of that name, or ref is about to be it.
func (s *Service) hasScript(ctx context.Context, ref atoll.ScriptRef, of string) (bool, error) {
	name, err := atoll.ParseScriptName(of)
	target := atoll.ScriptRef{Account: ref.Account, Name: name}
	if err == nil && target != ref {
		_, err = s.store.Script(ctx, target)
	}
	if f := fault.Of(err); f != nil && f.Kind != fault.Internal {
		return false, nil
	}
	return err == nil, err
}
