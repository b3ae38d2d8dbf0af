package api

import (
	"fmt"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/deploy"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/store"
	"atoll.dev/atoll/internal/upload"
	"atoll.dev/atoll/internal/wire"
)

// upload reads the body as a script's upload and makes a version of it.
func (a *API) upload(q *request, activate bool) (*atoll.Script, *atoll.Version, error) {
	up, err := upload.Read(q.Header.Get("Content-Type"), q.Header, q.Body, a.Deploy.Limits())
	if err != nil {
		return nil, nil, fmt.Errorf("read upload of %s: %w", q.ref, err)
	}
	return a.Deploy.Upload(q.Context(), q.ref, up, deploy.UploadOptions{
		Strict: q.URL.Query().Get("bindings_inherit") == "strict", Source: q.source(), Deploy: activate,
	})
}

// putScript uploads a script and deploys it. ?excludeScript= changes nothing: the answer never has the script's text.
func (a *API) putScript(q *request) (any, error) {
	s, v, err := a.upload(q, true)
	if err != nil {
		return nil, err
	}
	return withWarnings(showUpload(s, v), v)
}

// postVersion uploads a version of a script that is there, and does not deploy it.
func (a *API) postVersion(q *request) (any, error) {
	s, v, err := a.upload(q, false)
	if err != nil {
		return nil, err
	}
	return withWarnings(a.showVersion(s, v), v)
}

// putContent replaces a script's code alone.
func (a *API) putContent(q *request) (any, error) {
	up, err := upload.ReadContent(q.Header.Get("Content-Type"), q.Header, q.Body, a.Deploy.Limits())
	if err != nil {
		return nil, fmt.Errorf("read content of %s: %w", q.ref, err)
	}
	s, err := a.Deploy.PutContent(q.Context(), q.ref, up, q.source())
	if err != nil {
		return nil, err
	}
	return showUpload(s, s.Version), nil
}

// patchSettings changes a script's settings, which makes a version.
func (a *API) patchSettings(q *request) (any, error) {
	md, err := upload.ReadSettings(q.Header.Get("Content-Type"), q.Body, a.Deploy.Limits())
	if err != nil {
		return nil, fmt.Errorf("read settings of %s: %w", q.ref, err)
	}
	s, err := a.Deploy.PatchSettings(q.Context(), q.ref, md, q.source())
	if err != nil {
		return nil, err
	}
	return showSettings(s)
}

// patchScriptSettings changes what belongs to the script and to none of its versions.
func (a *API) patchScriptSettings(q *request) (any, error) {
	md, err := upload.ReadSettings(q.Header.Get("Content-Type"), q.Body, a.Deploy.Limits())
	if err != nil {
		return nil, fmt.Errorf("read settings of %s: %w", q.ref, err)
	}
	s, err := a.Deploy.PatchScriptSettings(q.Context(), q.ref, md)
	if err != nil {
		return nil, err
	}
	return showScriptSettings(s), nil
}

// deleteScript deletes a script, with its routes and cron triggers. What else refers to the script does not hold it back,
// it fails when it is next used; but a queue's messages would wait for it in vain, so the consumer of one is deleted by
// ?force=true alone, as at Cloudflare.
func (a *API) deleteScript(q *request) (any, error) {
	if list := a.Queues.Consumed(q.ref); len(list) > 0 && q.URL.Query().Get("force") != "true" {
		return nil, fault.Newf(fault.Invalid, 10064, "script still in use as a consumer for a queue: '%s'", list[0].Name)
	}
	if err := a.Deploy.Delete(q.Context(), q.ref); err != nil {
		return nil, err
	}
	if err := a.Queues.ScriptGone(q.Context(), q.ref); err != nil {
		return nil, err
	}
	if q.ref.Namespace == "" { // user Workers have neither
		a.RoutesChanged()
		a.SchedulesChanged()
	}
	return nil, nil
}

// deleteScripts deletes the scripts of a namespace that match a tag filter, and nothing without one.
func (a *API) deleteScripts(q *request) (any, error) {
	filter, err := store.ParseTagFilter(q.URL.Query().Get("tags"))
	if err != nil {
		return nil, err
	}
	limit, err := q.number("limit", 1, 1000, 1000)
	if err != nil {
		return nil, err
	}
	names, more, err := a.Deploy.DeleteTagged(q.Context(), q.account, q.namespace.Name, filter, limit)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if err := a.Queues.ScriptGone(q.Context(), atoll.ScriptRef{Account: q.account, Namespace: q.namespace.Name, Name: name}); err != nil {
			return nil, err
		}
	}
	out := wire.DeletedScripts{Deleted: make([]wire.ScriptID, 0, len(names)), DeletedCount: len(names), HasMore: more}
	for _, name := range names {
		out.Deleted = append(out.Deleted, wire.ScriptID{ID: string(name)})
	}
	return out, nil
}

// postDeployment deploys a version that is stored: a new one, or an old one again.
func (a *API) postDeployment(q *request) (any, error) {
	var in wire.DeploymentRequest
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	d := deploy.Deployment{Strategy: in.Strategy, Source: q.source(), Annotations: map[string]string{}}
	for _, v := range in.Versions {
		d.Versions = append(d.Versions, store.DeployedVersion{VersionID: atoll.VersionID(v.VersionID), Percentage: v.Percentage})
	}
	for name, value := range in.Annotations {
		if value == nil {
			continue
		}
		if len(in.Annotations) > 20 || len(name) > 100 || len(*value) > 1000 {
			return nil, fault.New(fault.Invalid, 10021, "annotations: at most 20, with names of at most 100 and values of at most 1000 bytes")
		}
		d.Annotations[name] = *value
	}
	done, err := a.Deploy.Deploy(q.Context(), q.ref, d)
	if err != nil {
		return nil, err
	}
	return a.showDeployment(done), nil
}
