package atoll

// RouterKind says where a built-in router finds whom a request is for.
type RouterKind string

// The kinds.
const (
	BySubdomain RouterKind = "subdomain" // the first label of the host
	ByPath      RouterKind = "path"      // the first segment of the path
	ByKV        RouterKind = "kv"        // a KV record under the host's name
)

// Router is a route's target in place of a script: it dispatches to the user Workers of a namespace without a dispatch
// Worker. docs/router.md is its manual.
type Router struct {
	Kind      RouterKind        `json:"kind"`
	Namespace NamespaceName     `json:"-"`
	KV        string            `json:"kv_namespace_id,omitempty"` // of the records; empty: there are none
	Limits    Limits            `json:"limits,omitzero"`           // of calls whose record sets none
	Plans     map[string]Limits `json:"plans,omitempty"`           // that a record may name
	Outbound  *RouterOutbound   `json:"outbound,omitempty"`        // nil: subrequests go to the internet
}

// RouterOutbound is the account's script that subrequests go to, and the parameters a record may set for it.
type RouterOutbound struct {
	Service    ScriptName `json:"service"`
	Parameters []string   `json:"parameters,omitempty"`
}
