package api

import (
	"fmt"

	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/wire"
)

func (a *API) listDeployments(q *request) (any, error) {
	list, err := a.Store.Deployments(q.Context(), q.ref)
	if err != nil {
		return nil, fmt.Errorf("list deployments: %w", err)
	}
	out := wire.Deployments{Deployments: make([]wire.Deployment, 0, len(list))}
	for _, d := range list {
		out.Deployments = append(out.Deployments, a.showDeployment(d))
	}
	return out, nil
}

func (a *API) getDeployment(q *request) (any, error) {
	list, err := a.Store.Deployments(q.Context(), q.ref)
	if err != nil {
		return nil, fmt.Errorf("list deployments: %w", err)
	}
	for _, d := range list {
		if d.ID == q.path("deployment") {
			return a.showDeployment(d), nil
		}
	}
	return nil, fault.New(fault.NotFound, 10007, "This deployment does not exist.")
}
