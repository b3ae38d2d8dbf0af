package api

import (
	"fmt"
	"strings"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/route"
	"atoll.dev/atoll/internal/store"
	"atoll.dev/atoll/internal/wire"
)

// showZone returns a zone as the API has it. Every zone is active: nothing of the node's waits for name servers.
func showZone(z store.Zone, accountName string) wire.Zone {
	return wire.Zone{ID: z.ID, Name: z.Name, Status: "active", Type: "full", NameServers: []string{},
		Account:   wire.AccountRef{ID: string(z.Account), Name: accountName},
		CreatedOn: wire.Time{Time: z.Created}, ModifiedOn: wire.Time{Time: z.Created}}
}

// listZones lists the zones of the caller's accounts; ?name= and ?account.id= select, as wrangler asks for a route's zone.
func (a *API) listZones(q *request) (any, error) {
	accounts, err := a.accounts(q)
	if err != nil {
		return nil, err
	}
	name, only := q.URL.Query().Get("name"), q.URL.Query().Get("account.id")
	out := []wire.Zone{}
	for _, acct := range accounts {
		if only != "" && only != string(acct.ID) {
			continue
		}
		zones, err := a.Store.Zones(q.Context(), acct.ID)
		if err != nil {
			return nil, fmt.Errorf("list zones: %w", err)
		}
		for _, z := range zones {
			if name == "" || strings.EqualFold(name, z.Name) {
				out = append(out, showZone(z, acct.Name))
			}
		}
	}
	return paged(q, out)
}

func (a *API) getZone(q *request) (any, error) {
	acct, err := a.Store.Account(q.Context(), q.zone.Account)
	if err != nil {
		return nil, fmt.Errorf("find account: %w", err)
	}
	return showZone(q.zone, acct.Name), nil
}

// postZone makes a zone, in the account of the token or in the one that the body names.
func (a *API) postZone(q *request) (any, error) {
	var in wire.NewZone
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	name := strings.ToLower(strings.TrimSuffix(in.Name, "."))
	if !isHostname(name) {
		return nil, fault.Newf(fault.Invalid, 1001, "zone name %q is not a host name", in.Name)
	}
	if in.Account != nil && in.Account.ID != "" && in.Account.ID != string(q.account) {
		return nil, fault.New(fault.Forbidden, 9109, "this token makes zones in its own account only")
	}
	zone, err := a.Store.EnsureZone(q.Context(), q.account, name)
	if err != nil {
		return nil, fmt.Errorf("create zone: %w", err)
	}
	acct, err := a.Store.Account(q.Context(), q.account)
	if err != nil {
		return nil, fmt.Errorf("find account: %w", err)
	}
	a.RoutesChanged()
	return showZone(zone, acct.Name), nil
}

// isHostname reports whether s is a lower-case DNS name as in RFC 1123, section 2.1.
func isHostname(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}

// zoneFor returns the zone that a route belongs to: the one named, else the account's zone with the longest name that the
// pattern's host ends in, else the account's only zone, for a pattern such as */*.
func (a *API) zoneFor(q *request, acct atoll.AccountID, r wire.Route) (store.Zone, error) {
	zones, err := a.Store.Zones(q.Context(), acct)
	if err != nil {
		return store.Zone{}, fmt.Errorf("list zones: %w", err)
	}
	pattern, err := route.ParsePattern(r.Pattern)
	if err != nil {
		return store.Zone{}, err
	}
	host := bareHost(pattern)
	var best store.Zone
	for _, z := range zones {
		switch {
		case r.ZoneID != "" || r.ZoneName != "":
			if (r.ZoneID == "" || r.ZoneID == z.ID) && (r.ZoneName == "" || strings.EqualFold(r.ZoneName, z.Name)) {
				return z, nil
			}
		case len(z.Name) > len(best.Name) && (host == z.Name || strings.HasSuffix(host, "."+z.Name)):
			best = z
		}
	}
	if best.ID == "" && host == "" && r.ZoneID == "" && r.ZoneName == "" && len(zones) == 1 {
		best = zones[0]
	}
	if best.ID == "" {
		return best, fault.Newf(fault.Invalid, 10022, "route %q is in no zone of this account; make the zone, or name one with zone_name", r.Pattern)
	}
	return best, nil
}
