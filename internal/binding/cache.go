package binding

import (
	"net/http"
	"sync"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/cache"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/hop"
	"atoll.dev/atoll/internal/isolate"
	"atoll.dev/atoll/internal/store"
)

// cache answers the Cache API. A script has caches of its own; the Workers of a trusted namespace have theirs in common,
// caches.default among them:
// https://developers.cloudflare.com/cloudflare-for-platforms/workers-for-platforms/reference/worker-isolation/
func (b *Border) cache(w http.ResponseWriter, r *http.Request, p *isolate.Process) {
	v := p.Spec.Version
	owner, err := b.owners.of(v.ID, func() (store.Owner, error) { return b.Owner(r.Context(), p.Spec.Ref, v.ID) })
	if err != nil {
		// A Worker that is being started for its upload, or whose script is deleted, has no caches.
		if fault.KindOf(err) != fault.NotFound && r.Context().Err() == nil {
			b.lg.Error("cache failed", "script", p.Spec.Ref.String(), "isolate", p.ID, "err", err)
		}
		cache.Empty(w, r)
		return
	}
	id := "script " + owner.Script
	switch {
	case !v.Trusted && !cache.Named(r):
		cache.Empty(w, r) // js/untrusted.js has refused caches.default, or should have
		return
	case v.Trusted && p.Spec.Ref.Namespace != "":
		id = "namespace " + owner.Namespace
	}
	url := r.Header.Get(isolate.HeaderProto) + "://" + r.Host + hop.Target(r)
	b.Cache.Serve(w, r, cache.Owner{Account: string(p.Spec.Ref.Account), ID: id}, url)
}

// maxOwners is how many versions' owners are remembered.
const maxOwners = 4096

// owners remembers whose versions are; that never changes.
type owners struct {
	mu sync.Mutex
	m  map[atoll.VersionID]store.Owner
}

func (o *owners) of(v atoll.VersionID, read func() (store.Owner, error)) (store.Owner, error) {
	o.mu.Lock()
	owner, ok := o.m[v]
	o.mu.Unlock()
	if ok {
		return owner, nil
	}
	owner, err := read()
	if err != nil {
		return store.Owner{}, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.m == nil || len(o.m) >= maxOwners {
		o.m = map[atoll.VersionID]store.Owner{}
	}
	o.m[v] = owner
	return owner, nil
}
