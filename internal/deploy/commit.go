package deploy

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/store"
	"atoll.dev/atoll/internal/upload"
)

// draft is a version on its way into the store.
type draft struct {
	current
	ref     atoll.ScriptRef
	version atoll.Version
	files   []upload.File // the modules that came with the request
	source  string
	trigger string // what made the version, for its annotations: "upload", "settings" or "secret"
	deploy  bool
	change  store.ScriptChange

	migrations *upload.Migrations // of the script's Durable Object classes; nil: none
	classes    classes            // what they make of them
}

// commit checks, starts, writes and publishes the draft. The caller holds the lock of the script, and of those that its
// migrations take classes from.
func (s *Service) commit(ctx context.Context, d *draft) (*atoll.Script, error) {
	v := &d.version
	v.ID, v.Created, v.Source = atoll.VersionID(atoll.NewUUID()), time.Now(), d.source
	v.Annotations = withTrigger(v.Annotations, d.trigger)
	v.Etag = etag(v)
	if err := s.migrate(ctx, d); err != nil {
		return nil, err
	}
	if err := s.checkBindings(ctx, d); err != nil {
		return nil, err
	}
	if err := checkAssets(d); err != nil {
		return nil, err
	}
	if err := s.setTrust(ctx, d); err != nil {
		return nil, err
	}
	if err := s.validate(ctx, d); err != nil {
		return nil, err
	}
	if err := d.classes.checkExports(v); err != nil {
		return nil, err
	}
	for _, f := range d.files {
		if _, err := s.blobs.PutBytes(ctx, f.Data); err != nil {
			return nil, fmt.Errorf("write module %s: %w", f.Name, err)
		}
	}
	if err := s.holdAssets(ctx, d); err != nil {
		return nil, err
	}
	d.change.Deploy, d.change.Source = d.deploy, d.source
	d.change.DeploymentAnnotations = v.Annotations
	done, err := s.suspend(ctx, d)
	if err != nil {
		return nil, err
	}
	defer done()
	if d.deploy {
		// Even a write that fails may have been applied: whoever serves the script must look.
		defer s.run.Publish(d.ref)
	}
	script, err := s.store.PutVersion(ctx, d.ref, v, d.change)
	if err != nil {
		return nil, err
	}
	s.lg.Info("version stored", "account", d.ref.Account, "script", d.ref.String(), "version", v.ID, "number", v.Number, "deployed", d.deploy)
	return script, nil
}

func withTrigger(annotations map[string]string, trigger string) map[string]string {
	annotations = maps.Clone(annotations)
	if annotations == nil {
		annotations = map[string]string{}
	}
	if annotations["workers/triggered_by"] == "" {
		annotations["workers/triggered_by"] = trigger
	}
	return annotations
}

// setTrust notes whether the version may see what only trusted Workers see.
func (s *Service) setTrust(ctx context.Context, d *draft) error {
	d.version.Trusted = true
	if d.ref.Namespace == "" {
		return nil
	}
	ns, err := s.store.Namespace(ctx, d.ref.Account, d.ref.Namespace)
	d.version.Trusted = ns.Trusted
	return err
}

// validate starts the version, unless one with the same code and settings has started before, and notes what it handles.
func (s *Service) validate(ctx context.Context, d *draft) error {
	if !d.version.HasCode() {
		d.version.Handlers = []string{"fetch"} // its assets answer
		return nil
	}
	key := s.memoKey(&d.version)
	started, known, err := s.remembered(ctx, key)
	if err != nil {
		return err
	}
	if !known {
		if started, err = s.start(ctx, d); err != nil {
			return err
		}
		if err := s.remember(ctx, key, started); err != nil {
			// Only the next upload's time is lost.
			s.lg.Warn("validation not remembered", "script", d.ref.String(), "err", err)
		}
	}
	v := &d.version
	v.Handlers, v.NamedHandlers, v.StartupMs = started.Handlers, started.Named, started.StartupMs
	return nil
}

// start asks the Runner to start the version.
func (s *Service) start(ctx context.Context, d *draft) (Started, error) {
	select {
	case s.starting <- struct{}{}:
		defer func() { <-s.starting }()
	case <-ctx.Done():
		return Started{}, context.Cause(ctx)
	}
	fresh := map[string][]byte{}
	for i, f := range d.files {
		fresh[d.version.Modules[i].Hash] = f.Data // setModules made one of the other
	}
	load := func(hash string) ([]byte, error) {
		if data, ok := fresh[hash]; ok {
			return data, nil
		}
		return s.blobs.Read(hash)
	}
	started, err := s.run.Validate(ctx, &d.version, d.ref, load)
	if err != nil {
		return Started{}, fmt.Errorf("start version: %w", err)
	}
	if len(started.Handlers) == 0 && len(started.Named) == 0 {
		return Started{}, fault.New(fault.Invalid, 10068, "The script registers no event handlers.")
	}
	return started, nil
}

func (s *Service) remembered(ctx context.Context, key string) (started Started, known bool, err error) {
	known, raw, err := s.store.Validated(ctx, key)
	if err == nil && known {
		err = json.Unmarshal(raw, &started)
	}
	return started, known, err
}

func (s *Service) remember(ctx context.Context, key string, started Started) error {
	raw, err := json.Marshal(started)
	if err != nil {
		return err
	}
	return s.store.MarkValidated(ctx, key, raw)
}

// memo is all of a version that can change how it starts. A Worker can read its bindings while it starts (service-worker
// syntax has them as globals, modules import { env } from "cloudflare:workers"), so their values are part of it.
type memo struct {
	Engine   string
	Trusted  bool
	Main     string
	Body     string
	Date     string
	Flags    []string
	Modules  []atoll.Module
	Bindings []memoBinding
	Assets   *atoll.Assets `json:",omitempty"` // of an etag only
}

type memoBinding struct {
	Fields json.RawMessage
	Secret string
}

// memoKey names the memo of a version. Secrets are in it by a keyed hash whose key lives as long as the process, so that
// the key is no way to test guesses at them.
func (s *Service) memoKey(v *atoll.Version) string {
	m := memo{Engine: s.opts.Engine, Trusted: v.Trusted, Main: v.MainModule, Body: v.BodyPart, Date: v.CompatibilityDate,
		Flags: v.CompatibilityFlags, Modules: code(v)}
	for _, b := range v.Bindings {
		mb := memoBinding{Fields: b.Fields}
		if b.Secret != nil {
			mac := hmac.New(sha256.New, s.salt[:])
			mac.Write(b.Secret)
			mb.Secret = hex.EncodeToString(mac.Sum(nil))
		}
		m.Bindings = append(m.Bindings, mb)
	}
	slices.SortFunc(m.Bindings, func(a, b memoBinding) int { return cmp.Compare(string(a.Fields), string(b.Fields)) })
	return sum(m)
}

// etag is the hash of a version's code and assets.
func etag(v *atoll.Version) string {
	return sum(memo{Main: v.MainModule, Body: v.BodyPart, Modules: code(v), Assets: v.Assets})
}

// code is the modules that run, by name, without what says nothing of their content.
func code(v *atoll.Version) []atoll.Module {
	var list []atoll.Module
	for _, m := range v.Modules {
		if m.Type != atoll.SourceMap {
			list = append(list, atoll.Module{Name: m.Name, Type: m.Type, Hash: m.Hash})
		}
	}
	slices.SortFunc(list, func(a, b atoll.Module) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

func sum(m memo) string {
	raw, err := json.Marshal(m)
	if err != nil {
		panic(err) // strings and parsed JSON only
	}
	h := sha256.Sum256(raw)
	return hex.EncodeToString(h[:])
}
