package deploy

import (
	"context"
	"fmt"
	"math"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/store"
)

// Deployment is a request to deploy stored versions: a new one, or an old one again.
type Deployment struct {
	Strategy    string // "percentage" or empty
	Versions    []store.DeployedVersion
	Source      string // "api", "wrangler" or "dash"
	Annotations map[string]string
}

// Deploy makes a stored version the active one. Every stored version was started when it was uploaded, so it is not
// again: a rollback has to be quick.
func (s *Service) Deploy(ctx context.Context, ref atoll.ScriptRef, d Deployment) (store.Deployment, error) {
	id, err := wholeVersion(d)
	if err != nil {
		return store.Deployment{}, fmt.Errorf("deploy %s: %w", ref, err)
	}
	release, err := s.locks.acquire(ctx, ref)
	if err != nil {
		return store.Deployment{}, fmt.Errorf("deploy %s: %w", ref, err)
	}
	defer release()
	if err := s.checkClasses(ctx, ref, id); err != nil {
		return store.Deployment{}, fmt.Errorf("deploy %s: %w", ref, err)
	}
	defer s.run.Publish(ref)
	done, err := s.store.Deploy(ctx, ref, id, d.Source, withTrigger(d.Annotations, "deployment"))
	if err != nil {
		return store.Deployment{}, fmt.Errorf("deploy %s: %w", ref, err)
	}
	s.lg.Info("version deployed", "account", ref.Account, "script", ref.String(), "version", id)
	return done, nil
}

// checkClasses refuses a version that was made before or without the last migration of the script's Durable Object classes:
// https://developers.cloudflare.com/workers/configuration/versions-and-deployments/rollbacks/#bindings
func (s *Service) checkClasses(ctx context.Context, ref atoll.ScriptRef, id atoll.VersionID) error {
	script, err := s.store.Script(ctx, ref)
	if err != nil {
		return err
	}
	v, err := s.store.Version(ctx, ref, id)
	if err == nil && !sameClasses(script, v) {
		err = fault.Newf(fault.Invalid, 10211, "version %s cannot be deployed: Durable Object migrations have been applied that it was not made for", id)
	}
	return err
}

// wholeVersion returns the one version that gets all requests. A split between two is refused by name.
func wholeVersion(d Deployment) (atoll.VersionID, error) {
	if d.Strategy != "" && d.Strategy != "percentage" {
		return "", fault.Newf(fault.Invalid, 10021, "the deployment strategy %q is not known: it must be percentage", d.Strategy)
	}
	if n := len(d.Versions); n < 1 || n > 2 {
		return "", fault.Newf(fault.Invalid, 10021, "a deployment must have one or two versions, not %d", n)
	}
	whole, total := atoll.VersionID(""), 0.0
	for _, v := range d.Versions {
		id, err := atoll.ParseVersionID(string(v.VersionID))
		if err != nil {
			return "", err
		}
		if math.IsNaN(v.Percentage) || v.Percentage < 0 || v.Percentage > 100 {
			return "", fault.New(fault.Invalid, 10021, "the percentage of a deployment's version must be from 0 to 100")
		}
		if total += v.Percentage; v.Percentage == 100 {
			whole = id
		}
	}
	switch {
	case math.Abs(total-100) > 1e-6:
		return "", fault.Newf(fault.Invalid, 10021, "the percentages of a deployment's versions must add up to 100, not %g", total)
	case whole == "":
		return "", fault.New(fault.Invalid, 10021, "a deployment split between two versions is not supported by this node yet: deploy one at 100%")
	}
	return whole, nil
}
