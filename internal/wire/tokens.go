package wire

// Token is an API token. Value is in the answer that made it, and nowhere else ever.
type Token struct {
	ID        string        `json:"id"`
	Name      string        `json:"name"`
	Status    string        `json:"status"`
	IssuedOn  string        `json:"issued_on,omitempty"`
	ExpiresOn string        `json:"expires_on,omitempty"`
	Policies  []TokenPolicy `json:"policies"`
	Value     string        `json:"value,omitempty"`
}

// TokenRequest is the body that makes a token.
type TokenRequest struct {
	Name      string        `json:"name"`
	ExpiresOn string        `json:"expires_on,omitempty"`
	Policies  []TokenPolicy `json:"policies"`
}

// TokenPolicy allows its permission groups on its resources, named as Cloudflare names them:
// "com.cloudflare.api.account.<id>" with "*", and in Atoll also "com.atoll.dispatch_namespace.<name>".
type TokenPolicy struct {
	Effect           string            `json:"effect"` // "allow"
	PermissionGroups []PermissionGroup `json:"permission_groups"`
	Resources        map[string]string `json:"resources"`
}

// PermissionGroup is a set of permissions that a token may have.
type PermissionGroup struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}
