package api

import (
	"atoll.dev/atoll/internal/fault"
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
