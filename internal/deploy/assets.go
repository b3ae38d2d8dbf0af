package deploy

import (
	"context"

	"atoll.dev/atoll/internal/assets"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/upload"
)

// onlyAssets reports whether an upload makes a Worker without code: it brings assets, and nothing that code would need.
func onlyAssets(up *upload.Upload) bool {
	md := &up.Metadata
	return !up.HasModules && md.Assets != nil && md.Assets.Token != "" && md.Bindings == nil && md.KeepBindings == nil
}

// setAssets gives the draft the assets that the metadata asks for: new ones, those of the version before with another
// configuration, or those as they are. A draft that began as a copy of the version before has its assets already.
func (s *Service) setAssets(ctx context.Context, d *draft, md *upload.Metadata) error {
	in, keep := md.Assets, md.KeepAssets != nil && *md.KeepAssets
	if in == nil && !keep {
		return nil
	}
	if s.opts.Assets == nil {
		return errNoAssets
	}
	if in != nil && in.Token != "" {
		a, err := s.opts.Assets.Redeem(ctx, d.ref, in.Token)
		if err != nil {
			return err
		}
		if in.Config != nil {
			a.Config = *in.Config
		}
		d.version.Assets = a
		return nil
	}
	if d.base == nil || d.base.Assets == nil {
		if in == nil {
			return nil // nothing to keep
		}
		return fault.New(fault.Invalid, 10021, "metadata.assets.jwt is missing, and there are no assets from before: upload them first, with assets-upload-session")
	}
	a := *d.base.Assets
	if in != nil && in.Config != nil {
		a.Config = *in.Config
	}
	d.version.Assets = &a
	return nil
}

var errNoAssets = fault.New(fault.Invalid, 10021, "static assets are not supported by this node")

// checkAssets refuses a version whose assets cannot be served as it asks, and one that has neither code nor assets.
func checkAssets(d *draft) error {
	v := &d.version
	if v.Assets == nil && !v.HasCode() {
		return fault.New(fault.Invalid, 10021, "a Worker has code, or assets, or both: this one would have neither")
	}
	_, err := assets.Check(v)
	return err
}

// holdAssets notes the files that the draft's assets need. Those that the version before has not are safe from collection
// for as long as it takes to store the draft.
func (s *Service) holdAssets(ctx context.Context, d *draft) (err error) {
	a := d.version.Assets
	if a == nil {
		return nil
	}
	if s.opts.Assets == nil {
		return errNoAssets
	}
	fresh := d.base == nil || d.base.Assets == nil || d.base.Assets.Manifest != a.Manifest
	d.change.AssetFiles, err = s.opts.Assets.Files(ctx, a, fresh)
	return err
}
