package wire

import "encoding/json"

// Script is a script as lists and uploads answer it. Fields that only one kind of answer has are left out of the others.
type Script struct {
	ID                 string          `json:"id"`
	Tag                string          `json:"tag,omitempty"`
	Tags               []string        `json:"tags"`
	Etag               string          `json:"etag"`
	Handlers           []string        `json:"handlers"`
	NamedHandlers      []NamedHandlers `json:"named_handlers,omitempty"`
	CompatibilityDate  string          `json:"compatibility_date,omitempty"`
	CompatibilityFlags []string        `json:"compatibility_flags"`
	CreatedOn          string          `json:"created_on"`
	ModifiedOn         string          `json:"modified_on"`
	HasAssets          bool            `json:"has_assets"`
	HasModules         bool            `json:"has_modules"`
	LastDeployedFrom   string          `json:"last_deployed_from,omitempty"`
	Logpush            bool            `json:"logpush"`
	MigrationTag       string          `json:"migration_tag,omitempty"`
	Observability      json.RawMessage `json:"observability,omitempty"`
	Placement          json.RawMessage `json:"placement,omitempty"`
	PlacementMode      string          `json:"placement_mode,omitempty"`
	TailConsumers      json.RawMessage `json:"tail_consumers"`
	UsageModel         string          `json:"usage_model"`

	DispatchNamespace string  `json:"dispatch_namespace,omitempty"` // a user Worker's
	Script            *Script `json:"script,omitempty"`             // a user Worker's in lists: the same once more, nested

	StartupTimeMs *int64  `json:"startup_time_ms,omitempty"` // an upload's
	DeploymentID  string  `json:"deployment_id,omitempty"`   // an upload's
	EntryPoint    *string `json:"entry_point,omitempty"`     // an upload's
}

// NamedHandlers is a named export of a script and the events it handles.
type NamedHandlers struct {
	Name     string   `json:"name"`
	Handlers []string `json:"handlers"`
}

// NamespaceScript is what GET of one script in a namespace answers.
type NamespaceScript struct {
	CreatedOn         string `json:"created_on"`
	ModifiedOn        string `json:"modified_on"`
	DispatchNamespace string `json:"dispatch_namespace"`
	Script            Script `json:"script"`
}

// Settings are a version's settings. Bindings keep the form they were uploaded in, without secret values.
type Settings struct {
	Bindings           []json.RawMessage `json:"bindings"`
	CompatibilityDate  string            `json:"compatibility_date,omitempty"`
	CompatibilityFlags []string          `json:"compatibility_flags"`
	Limits             json.RawMessage   `json:"limits,omitempty"`
	Logpush            bool              `json:"logpush"`
	Observability      json.RawMessage   `json:"observability,omitempty"`
	Placement          json.RawMessage   `json:"placement,omitempty"`
	Tags               []string          `json:"tags"`
	TailConsumers      json.RawMessage   `json:"tail_consumers"`
	UsageModel         string            `json:"usage_model"`
}

// DeletedScripts is what a bulk delete answers.
type DeletedScripts struct {
	Deleted      []ScriptID `json:"deleted"`
	DeletedCount int        `json:"deleted_count"`
	HasMore      bool       `json:"has_more"`
}

// ScriptID names a script.
type ScriptID struct {
	ID string `json:"id"`
}
