package binding

import (
	"net/http"

	"atoll.dev/atoll/internal/assets"
	"atoll.dev/atoll/internal/hop"
	"atoll.dev/atoll/internal/isolate"
)

// assets answers env.ASSETS.fetch(): by the assets of the version that the process runs, past run_worker_first, and
// whatever the host.
func (b *Border) assets(w http.ResponseWriter, r *http.Request, p *isolate.Process) {
	site, err := b.Assets.Site(r.Context(), p.Spec.Version)
	var a *assets.Answer
	if err == nil {
		a, err = site.Fetch(&assets.Request{Method: r.Method, Target: hop.Target(r), Scheme: r.Header.Get(isolate.HeaderProto),
			Host: r.Host, Header: r.Header}, w.Header())
	}
	if err != nil {
		b.lg.Error("assets failed", "script", p.Spec.Ref.String(), "isolate", p.ID, "err", err)
		http.Error(w, "Internal Server Error", http.StatusInternalServerError)
		return
	}
	if err := a.Send(w); err != nil {
		panic(http.ErrAbortHandler) // the Worker must see that the body broke off
	}
}
