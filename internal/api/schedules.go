package api

import (
	"fmt"

	"atoll.dev/atoll/internal/cron"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/store"
	"atoll.dev/atoll/internal/wire"
)

// maxSchedules is how many cron triggers a script may have, as at Cloudflare.
const maxSchedules = 250

func showSchedules(list []store.Schedule) wire.Schedules {
	out := wire.Schedules{Schedules: make([]wire.Schedule, 0, len(list))}
	for _, s := range list {
		out.Schedules = append(out.Schedules, wire.Schedule{Cron: s.Cron, CreatedOn: wire.Time{Time: s.Created}, ModifiedOn: wire.Time{Time: s.Modified}})
	}
	return out
}

func (a *API) getSchedules(q *request) (any, error) {
	list, err := a.Store.Schedules(q.Context(), q.ref)
	if err != nil {
		return nil, fmt.Errorf("list cron triggers: %w", err)
	}
	return showSchedules(list), nil
}

// putSchedules replaces a script's cron triggers.
func (a *API) putSchedules(q *request) (any, error) {
	var in []wire.Schedule
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	if len(in) > maxSchedules {
		return nil, fault.Newf(fault.Invalid, 10026, "%d cron triggers; a script may have %d", len(in), maxSchedules)
	}
	crons := make([]string, 0, len(in))
	for _, s := range in {
		if _, err := cron.Parse(s.Cron); err != nil {
			return nil, err
		}
		crons = append(crons, s.Cron)
	}
	list, err := a.Store.SetSchedules(q.Context(), q.ref, crons)
	if err != nil {
		return nil, fmt.Errorf("set cron triggers: %w", err)
	}
	a.SchedulesChanged()
	return showSchedules(list), nil
}
