package wire

// Namespace is a dispatch namespace.
type Namespace struct {
	NamespaceID    string `json:"namespace_id"`
	NamespaceName  string `json:"namespace_name"`
	ScriptCount    int64  `json:"script_count"`
	TrustedWorkers bool   `json:"trusted_workers"`
	CreatedOn      Time   `json:"created_on"`
	CreatedBy      string `json:"created_by"`
	ModifiedOn     Time   `json:"modified_on"`
	ModifiedBy     string `json:"modified_by"`

	// ID and Name repeat NamespaceID and NamespaceName: cloudflare/templates reads these.
	ID   string `json:"id"`
	Name string `json:"name"`
}

// NamespaceChange creates a dispatch namespace (POST) or changes the fields that are not nil (PUT, PATCH).
type NamespaceChange struct {
	Name           *string `json:"name,omitempty"`
	TrustedWorkers *bool   `json:"trusted_workers,omitempty"`
}

// Deleted is the answer to the deletion of scripts by a tag filter.
type Deleted struct {
	Deleted      []DeletedScript `json:"deleted"`
	DeletedCount int             `json:"deleted_count"`
	HasMore      bool            `json:"has_more"`
}

// DeletedScript is one script of Deleted.
type DeletedScript struct {
	ID string `json:"id"`
}
