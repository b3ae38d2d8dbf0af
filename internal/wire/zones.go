package wire

import (
	"bytes"
	"encoding/json"
)

// Zone is a zone: a name under which routes live.
type Zone struct {
	ID          string     `json:"id"`
	Name        string     `json:"name"`
	Status      string     `json:"status"` // "active"
	Type        string     `json:"type"`   // "full"
	Paused      bool       `json:"paused"`
	Account     AccountRef `json:"account"`
	NameServers []string   `json:"name_servers"`
	CreatedOn   Time       `json:"created_on"`
	ModifiedOn  Time       `json:"modified_on"`
}

// NewZone asks for a zone.
type NewZone struct {
	Name    string      `json:"name"`
	Account *AccountRef `json:"account,omitempty"`
}

// Route maps a pattern of host and path to an account script, or to a router. A route without either opts its pattern out.
type Route struct {
	ID       string  `json:"id,omitempty"`
	Pattern  string  `json:"pattern"`
	Script   string  `json:"script,omitempty"`
	Router   *Router `json:"router,omitempty"`
	ZoneID   string  `json:"zone_id,omitempty"`
	ZoneName string  `json:"zone_name,omitempty"`
}

// Router dispatches a route's requests to the scripts of a dispatch namespace without a dispatch Worker. Cloudflare has no
// such thing; docs/router.md is its manual.
type Router struct {
	Kind          string                  `json:"kind"` // "subdomain", "path" or "kv"
	Namespace     string                  `json:"namespace"`
	KVNamespaceID string                  `json:"kv_namespace_id,omitempty"`
	Limits        RouterLimits            `json:"limits,omitzero"`
	Plans         map[string]RouterLimits `json:"plans,omitempty"`
	Outbound      *RouterOutbound         `json:"outbound,omitempty"`
}

// UnmarshalJSON reads a router and refuses fields that it has not: a limit that is misspelt would be none.
func (r *Router) UnmarshalJSON(b []byte) error {
	type plain Router
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode((*plain)(r))
}

// RouterLimits are those of one dispatch; zero is no limit of it.
type RouterLimits struct {
	CPUMs       int64 `json:"cpu_ms,omitempty"`
	SubRequests int64 `json:"subrequests,omitempty"`
}

// RouterOutbound is the account script that subrequests of the dispatched go to, and the parameters that records set.
type RouterOutbound struct {
	Service    string   `json:"service"`
	Parameters []string `json:"parameters,omitempty"`
}
