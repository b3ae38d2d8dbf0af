package wire

// Namespace is a dispatch namespace. ID and Name repeat NamespaceID and NamespaceName for clients that read those
// (cloudflare/templates). Limits and Jitless are Atoll's own.
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

	Limits  NamespaceLimits `json:"limits"`
	Jitless bool            `json:"jitless"`
}

// NamespaceLimits are the limits of a dispatch namespace; zero fields are not set.
type NamespaceLimits struct {
	CPUMs       int64 `json:"cpu_ms,omitempty"`
	SubRequests int64 `json:"subrequests,omitempty"`
	MemoryMB    int   `json:"memory_mb,omitempty"`
}

// NamespaceChange is the body of a POST, PUT or PATCH of a dispatch namespace; what is not sent stays as it is.
type NamespaceChange struct {
	Name           *string `json:"name,omitempty"`
	TrustedWorkers *bool   `json:"trusted_workers,omitempty"`

	Limits  Optional[LimitsChange] `json:"limits,omitzero"` // null: none is set any more
	Jitless Optional[bool]         `json:"jitless,omitzero"`
}

// LimitsChange is a change of a dispatch namespace's limits; null unsets one, what is not sent stays as it is.
type LimitsChange struct {
	CPUMs       Optional[int64] `json:"cpu_ms,omitzero"`
	SubRequests Optional[int64] `json:"subrequests,omitzero"`
	MemoryMB    Optional[int]   `json:"memory_mb,omitzero"`
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
