package deploy

import (
	"context"
	"fmt"
	"slices"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/upload"
)

// PutContent replaces a script's code and keeps all else: bindings, secrets, settings.
func (s *Service) PutContent(ctx context.Context, ref atoll.ScriptRef, up *upload.Upload, source string) (*atoll.Script, error) {
	return s.alter(ctx, ref, nil, "put content of", func(d *draft) error {
		d.files, d.source, d.trigger = up.Modules, source, "upload"
		setModules(&d.version, &up.Metadata, up.Modules)
		return d.keepParts(d.version.Bindings, d.base)
	})
}

// PatchSettings changes the settings that md names, and the bindings if it names any; the code stays. Like every change of
// what a Worker runs with, it makes a version.
func (s *Service) PatchSettings(ctx context.Context, ref atoll.ScriptRef, md *upload.Metadata, source string) (*atoll.Script, error) {
	return s.alter(ctx, ref, md.Migrations, "patch settings of", func(d *draft) (err error) {
		d.source, d.trigger = source, "settings"
		applySettings(&d.version, md)
		d.version.Annotations = md.Annotations
		if err := s.setAssets(ctx, d, md); err != nil {
			return err
		}
		d.migrations = md.Migrations
		if d.change, err = scriptChange(md, d.current); err != nil {
			return err
		}
		return s.mergeBindings(ctx, d, md, merging{strict: true, keepUnnamed: true})
	})
}

// PatchScriptSettings changes settings of the script as a whole: tags, logpush, observability, tail consumers. It makes
// no version and publishes nothing: wrangler does it after each deploy, and a Worker runs as well with them as without.
func (s *Service) PatchScriptSettings(ctx context.Context, ref atoll.ScriptRef, md *upload.Metadata) (*atoll.Script, error) {
	release, err := s.locks.acquire(ctx, ref)
	if err != nil {
		return nil, fmt.Errorf("patch script settings of %s: %w", ref, err)
	}
	defer release()
	whole := *md
	whole.Migrations = nil
	change, err := scriptChange(&whole, current{})
	if err != nil {
		return nil, fmt.Errorf("patch script settings of %s: %w", ref, err)
	}
	return s.store.UpdateScript(ctx, ref, change)
}

// PutSecret sets one secret, which upload.ParseSecret has made.
func (s *Service) PutSecret(ctx context.Context, ref atoll.ScriptRef, secret atoll.Binding, source string) (*atoll.Script, error) {
	return s.BulkSecrets(ctx, ref, []upload.SecretChange{{Name: secret.Name, Secret: &secret}}, source)
}

// BulkSecrets sets and deletes secrets, all in one version. Deleting one that is not there is no error.
func (s *Service) BulkSecrets(ctx context.Context, ref atoll.ScriptRef, changes []upload.SecretChange, source string) (*atoll.Script, error) {
	return s.alter(ctx, ref, nil, "put secrets of", func(d *draft) (err error) {
		d.source, d.trigger = source, "secret"
		d.version.Bindings, err = withSecrets(d.version.Bindings, changes)
		return err
	})
}

// NewestSecrets sets and deletes secrets in a version that is the newest one but for them, and does not deploy it.
func (s *Service) NewestSecrets(ctx context.Context, ref atoll.ScriptRef, p upload.VersionPatch, source string) (*atoll.Script, *atoll.Version, error) {
	return s.revise(ctx, ref, nil, "patch newest version of", s.newest, func(d *draft) (err error) {
		d.source, d.trigger, d.deploy = source, "secret", false
		d.version.Annotations = p.Annotations
		d.version.Bindings, err = withSecrets(d.version.Bindings, p.Secrets)
		return err
	})
}

// withSecrets is bindings but for changes of secrets. Deleting one that is not there changes nothing.
func withSecrets(bindings []atoll.Binding, changes []upload.SecretChange) ([]atoll.Binding, error) {
	list := slices.Clone(bindings)
	for _, c := range changes {
		i := slices.IndexFunc(list, func(b atoll.Binding) bool { return b.Name == c.Name })
		switch {
		case i >= 0 && !isSecret(list[i]):
			return nil, fault.Newf(fault.Invalid, 10053, "Binding name '%s' already in use. Please use a different name and try again.", c.Name)
		case c.Secret == nil && i >= 0:
			list = slices.Delete(list, i, i+1)
		case c.Secret == nil:
		case i >= 0:
			list[i] = *c.Secret
		default:
			list = append(list, *c.Secret)
		}
	}
	return list, nil
}

// DeleteSecret removes one secret.
func (s *Service) DeleteSecret(ctx context.Context, ref atoll.ScriptRef, name, source string) (*atoll.Script, error) {
	return s.alter(ctx, ref, nil, "delete secret of", func(d *draft) error {
		d.source, d.trigger = source, "secret"
		i := slices.IndexFunc(d.version.Bindings, func(b atoll.Binding) bool { return b.Name == name && isSecret(b) })
		if i < 0 {
			return fault.Newf(fault.NotFound, 10056, "Binding '%s' not found. Please use a different name and try again.", name)
		}
		d.version.Bindings = slices.Delete(slices.Clone(d.version.Bindings), i, i+1)
		return nil
	})
}

// alter makes and deploys a version that is the active one but for what change does to it, migrations, nil for none, included.
func (s *Service) alter(ctx context.Context, ref atoll.ScriptRef, m *upload.Migrations, verb string, change func(*draft) error) (*atoll.Script, error) {
	script, _, err := s.revise(ctx, ref, m, verb, s.existing, change)
	return script, err
}

// revise makes a version that is the base of what there finds but for what change does to it. It is deployed, unless change says
// otherwise.
func (s *Service) revise(ctx context.Context, ref atoll.ScriptRef, m *upload.Migrations, verb string, there func(context.Context, atoll.ScriptRef) (current, error),
	change func(*draft) error) (script *atoll.Script, version *atoll.Version, err error) {
	defer func() {
		if err != nil {
			script, version, err = nil, nil, fmt.Errorf("%s %s: %w", verb, ref, err)
		}
	}()
	release, err := s.lock(ctx, ref, m)
	if err != nil {
		return nil, nil, err
	}
	defer release()
	cur, err := there(ctx, ref)
	if err != nil {
		return nil, nil, err
	}
	d := draft{ref: ref, current: cur, version: clone(cur.base), deploy: true}
	if err := change(&d); err != nil {
		return nil, nil, err
	}
	script, err = s.commit(ctx, &d)
	return script, &d.version, err
}
