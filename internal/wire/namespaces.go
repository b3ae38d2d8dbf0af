package wire

// Namespace is a dispatch namespace. ID and Name repeat NamespaceID and NamespaceName for clients that read those
// (cloudflare/templates).
type Namespace struct {
	NamespaceID    string `json:"namespace_id"`
	NamespaceName  string `json:"namespace_name"`
	ID             string `json:"id"`
	Name           string `json:"name"`
	CreatedOn      Time   `json:"created_on"`
	CreatedBy      string `json:"created_by"`
	ModifiedOn     Time   `json:"modified_on"`
	ModifiedBy     string `json:"modified_by"`
	ScriptCount    int64  `json:"script_count"`
	TrustedWorkers bool   `json:"trusted_workers"`
}

// NamespaceChange is the body of a POST, PUT or PATCH of a dispatch namespace; nil fields stay as they are.
type NamespaceChange struct {
	Name           *string `json:"name,omitempty"`
	TrustedWorkers *bool   `json:"trusted_workers,omitempty"`
}

// DeletedScripts is what the deletion of scripts by a tag filter answers.
type DeletedScripts struct {
	Deleted      []ScriptID `json:"deleted"`
	DeletedCount int        `json:"deleted_count"`
	HasMore      bool       `json:"has_more"`
}

// ScriptID names a script.
type ScriptID struct {
	ID string `json:"id"`
}
