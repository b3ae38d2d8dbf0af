package wire

// Token is an API token. Value is in the answer that made it, and nowhere else ever.
type Token struct {
	ID        string        `json:"id"`
	Name      string        `json:"name"`
	Status    string        `json:"status"` // "active" or "expired"
	IssuedOn  Time          `json:"issued_on"`
	ExpiresOn Time          `json:"expires_on,omitzero"`
	Policies  []TokenPolicy `json:"policies"`
	Value     string        `json:"value,omitempty"`
}

// TokenRequest is the body that makes a token.
type TokenRequest struct {
	Name      string        `json:"name"`
	ExpiresOn Time          `json:"expires_on,omitzero"`
	Policies  []TokenPolicy `json:"policies"`
}

// TokenPolicy allows its permission groups on its resources. A node knows one policy a token, with one resource: the
// account, ResourceAccount+"<id>", or one dispatch namespace, ResourceNamespace+"<name>", and "*" as its value.
type TokenPolicy struct {
	ID               string            `json:"id,omitempty"`
	Effect           string            `json:"effect"` // "allow"
	PermissionGroups []PermissionGroup `json:"permission_groups"`
	Resources        map[string]string `json:"resources"`
}

// The resources of a TokenPolicy: Cloudflare's name for an account, and Atoll's own for a dispatch namespace.
const (
	ResourceAccount   = "com.cloudflare.api.account."
	ResourceNamespace = "com.atoll.dispatch_namespace."
)

// PermissionGroup is a set of permissions that a token may have. Requests may name it by ID or Name.
type PermissionGroup struct {
	ID     string   `json:"id"`
	Name   string   `json:"name,omitempty"`
	Scopes []string `json:"scopes,omitempty"`
}

// The permission groups of a node. Writing includes reading.
const (
	GroupReadID  = "a7011000000000000000000000000001"
	GroupRead    = "Read"
	GroupWriteID = "a7011000000000000000000000000002"
	GroupWrite   = "Write"
)
