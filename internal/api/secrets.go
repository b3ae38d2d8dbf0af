package api

import (
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/upload"
	"atoll.dev/atoll/internal/wire"
)

func (a *API) listSecrets(q *request) (any, error) {
	s, err := a.script(q)
	if err != nil {
		return nil, err
	}
	return showSecrets(s.Version), nil
}

// getSecret shows that a secret is there, never its value. ?url_encoded=true changes nothing: the name in the path is
// always decoded.
func (a *API) getSecret(q *request) (any, error) {
	s, err := a.script(q)
	if err != nil {
		return nil, err
	}
	for _, secret := range showSecrets(s.Version) {
		if secret.Name == q.path("secret") {
			return secret, nil
		}
	}
	return nil, fault.Newf(fault.NotFound, 10056, "Binding '%s' not found. Please use a different name and try again.", q.path("secret"))
}

func (a *API) putSecret(q *request) (any, error) {
	body, err := q.read()
	if err != nil {
		return nil, err
	}
	secret, err := upload.ParseSecret(body)
	if err != nil {
		return nil, err
	}
	if _, err := a.Deploy.PutSecret(q.Context(), q.ref, secret, q.source()); err != nil {
		return nil, err
	}
	return wire.Secret{Name: secret.Name, Type: secret.Type}, nil
}

func (a *API) deleteSecret(q *request) (any, error) {
	_, err := a.Deploy.DeleteSecret(q.Context(), q.ref, q.path("secret"), q.source())
	return nil, err
}

// patchSecrets sets and deletes many secrets in one version, and returns those that are set, by name.
func (a *API) patchSecrets(q *request) (any, error) {
	body, err := q.read()
	if err != nil {
		return nil, err
	}
	changes, err := upload.ParseSecrets(body)
	if err != nil {
		return nil, err
	}
	s, err := a.Deploy.BulkSecrets(q.Context(), q.ref, changes, q.source())
	if err != nil {
		return nil, err
	}
	out := map[string]wire.Secret{}
	for _, secret := range showSecrets(s.Version) {
		out[secret.Name] = secret
	}
	return out, nil
}

// patchNewestVersion makes a version with other secrets than the newest has, which is not deployed: wrangler versions secret.
// https://developers.cloudflare.com/api/resources/workers/subresources/beta/subresources/workers/subresources/versions/
func (a *API) patchNewestVersion(q *request) (any, error) {
	body, err := q.read()
	if err != nil {
		return nil, err
	}
	patch, err := upload.ParseVersionPatch(body)
	if err != nil {
		return nil, err
	}
	s, v, err := a.Deploy.NewestSecrets(q.Context(), q.ref, patch, q.source())
	if err != nil {
		return nil, err
	}
	return wire.WorkerVersion{
		ID: string(v.ID), Number: v.Number, CreatedOn: wire.Time{Time: v.Created}, Annotations: annotations(v.Annotations), Source: v.Source,
		Bindings: showBindings(v), CompatibilityDate: v.CompatibilityDate, CompatibilityFlags: orEmpty(v.CompatibilityFlags),
		MainModule: v.MainModule, MigrationTag: s.MigrationTag, StartupTimeMs: v.StartupMs, UsageModel: usageModel(v),
	}, nil
}
