package deploy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/store"
	"atoll.dev/atoll/internal/upload"
)

// oldestDate is the compatibility date of an upload that names none
// (https://developers.cloudflare.com/workers/configuration/compatibility-dates/).
const oldestDate = "2021-11-02"

// UploadOptions say what is to become of an upload.
type UploadOptions struct {
	Strict bool   // bindings_inherit=strict: a binding that cannot be inherited is an error
	Source string // "api", "wrangler" or "dash"
	Deploy bool   // make the version active; false: only store it, for a later Deploy
}

// Upload makes a version of an upload, and the script where it is missing. An upload without modules keeps the code, and
// all settings it does not name; one with modules replaces everything but what keep_bindings, keep_assets and inherit keep,
// and the settings of the script as a whole, which change only where they are named. One of assets alone makes a Worker
// without code.
func (s *Service) Upload(ctx context.Context, ref atoll.ScriptRef, up *upload.Upload, o UploadOptions) (*atoll.Script, *atoll.Version, error) {
	release, err := s.lock(ctx, ref, up.Metadata.Migrations)
	if err != nil {
		return nil, nil, fmt.Errorf("upload %s: %w", ref, err)
	}
	defer release()
	cur, err := s.current(ctx, ref, o.Deploy)
	if err != nil {
		return nil, nil, fmt.Errorf("upload %s: %w", ref, err)
	}
	if err := allowUpload(cur, ref, up, o); err != nil {
		return nil, nil, fmt.Errorf("upload %s: %w", ref, err)
	}
	md := &up.Metadata
	d := draft{ref: ref, current: cur, files: up.Modules, source: o.Source, trigger: "upload", deploy: o.Deploy, migrations: up.Metadata.Migrations}
	whole := up.HasModules || onlyAssets(up)
	if whole {
		d.version = fresh(md)
		setModules(&d.version, md, up.Modules)
	} else {
		d.version = clone(cur.base)
		applySettings(&d.version, md)
	}
	d.version.Annotations = maps.Clone(md.Annotations)
	if err := s.setAssets(ctx, &d, md); err != nil {
		return nil, nil, fmt.Errorf("upload %s: %w", ref, err)
	}
	if err := s.mergeBindings(ctx, &d, md, merging{strict: o.Strict, keepUnnamed: !whole}); err != nil {
		return nil, nil, fmt.Errorf("upload %s: %w", ref, err)
	}
	if o.Deploy {
		if d.change, err = scriptChange(md, cur); err != nil {
			return nil, nil, fmt.Errorf("upload %s: %w", ref, err)
		}
	}
	script, err := s.commit(ctx, &d)
	if err != nil {
		return nil, nil, fmt.Errorf("upload %s: %w", ref, err)
	}
	return script, &d.version, nil
}

// allowUpload refuses uploads that need a script, or must not meet one that is as it is.
func allowUpload(cur current, ref atoll.ScriptRef, up *upload.Upload, o UploadOptions) error {
	switch {
	case cur.script == nil && !o.Deploy:
		return ref.NotFound()
	case cur.base == nil && !up.HasModules && !onlyAssets(up):
		return fault.New(fault.Invalid, 10021, "the script does not exist yet: its first upload must have modules")
	case !o.Deploy && up.Metadata.Migrations != nil:
		return fault.New(fault.Invalid, 10211, "metadata.migrations: a version that is not deployed at once cannot have migrations")
	}
	return nil
}

// fresh is a version with the metadata's settings alone.
func fresh(md *upload.Metadata) atoll.Version {
	v := atoll.Version{CompatibilityDate: oldestDate}
	applySettings(&v, md)
	return v
}

// clone is a new version that is like base so far.
func clone(base *atoll.Version) atoll.Version {
	v := *base
	v.ID, v.Number, v.Created, v.Source, v.Annotations = "", 0, time.Time{}, "", nil
	v.Migrations = nil // done with the version that brought them
	return v
}

// applySettings changes what the metadata names.
func applySettings(v *atoll.Version, md *upload.Metadata) {
	if md.CompatibilityDate != "" {
		v.CompatibilityDate = md.CompatibilityDate
	}
	if md.CompatibilityFlags != nil {
		v.CompatibilityFlags = md.CompatibilityFlags
	}
	if md.Limits != nil {
		v.Limits = *md.Limits
	}
	if md.Placement != nil {
		v.Placement = md.Placement
	}
	if md.UsageModel != "" {
		v.UsageModel = md.UsageModel
	}
	if md.Migrations != nil {
		v.Migrations = md.Migrations.Raw
	}
	if len(md.Extra) > 0 {
		v.Extra = maps.Clone(v.Extra)
		if v.Extra == nil {
			v.Extra = map[string]json.RawMessage{}
		}
		maps.Copy(v.Extra, md.Extra)
	}
}

// setModules makes the uploaded files the version's code.
func setModules(v *atoll.Version, md *upload.Metadata, files []upload.File) {
	v.MainModule, v.BodyPart = md.MainModule, md.BodyPart
	v.Modules = make([]atoll.Module, len(files))
	for i, f := range files {
		sum := sha256.Sum256(f.Data)
		v.Modules[i] = atoll.Module{Name: f.Name, Type: f.Type, ContentType: f.ContentType,
			Hash: hex.EncodeToString(sum[:]), Size: int64(len(f.Data))}
	}
}

// scriptChange is what the metadata changes of the script as a whole. A migration whose old tag is not the script's is
// refused: another client has migrated in between.
func scriptChange(md *upload.Metadata, cur current) (store.ScriptChange, error) {
	var c store.ScriptChange
	if md.Tags != nil {
		c.Tags = &md.Tags
	}
	c.Logpush = md.Logpush
	if md.Observability != nil {
		c.Observability = &md.Observability
	}
	if md.TailConsumers != nil {
		c.TailConsumers = &md.TailConsumers
	}
	if m := md.Migrations; m != nil {
		tag := ""
		if cur.script != nil {
			tag = cur.script.MigrationTag
		}
		if m.OldTag != nil && *m.OldTag != tag {
			return c, fault.Newf(fault.Precondition, 10079, "Migration tag precondition failed; current tag is '%s'", tag)
		}
		if m.NewTag != "" {
			c.MigrationTag = &m.NewTag
		}
	}
	return c, nil
}
