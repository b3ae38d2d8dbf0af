package wire

import "encoding/json"

// Script is a script as lists and uploads show it. ID is the script's name.
type Script struct {
	ID                 string          `json:"id"`
	Tag                string          `json:"tag"`
	Tags               []string        `json:"tags"`
	Etag               string          `json:"etag"`
	Handlers           []string        `json:"handlers"`
	NamedHandlers      []NamedHandlers `json:"named_handlers"`
	CompatibilityDate  string          `json:"compatibility_date"`
	CompatibilityFlags []string        `json:"compatibility_flags"`
	HasAssets          bool            `json:"has_assets"`
	HasModules         bool            `json:"has_modules"`
	LastDeployedFrom   string          `json:"last_deployed_from"`
	Logpush            bool            `json:"logpush"`
	MigrationTag       string          `json:"migration_tag,omitempty"` // wrangler: absent means no migration was applied
	Observability      json.RawMessage `json:"observability,omitempty"`
	Placement          json.RawMessage `json:"placement,omitempty"`
	PlacementMode      string          `json:"placement_mode,omitempty"`
	PlacementStatus    string          `json:"placement_status,omitempty"`
	TailConsumers      json.RawMessage `json:"tail_consumers"` // null where none
	Limits             *Limits         `json:"limits,omitempty"`
	UsageModel         string          `json:"usage_model"`
	CacheOptions       json.RawMessage `json:"cache_options,omitempty"`
	Exports            json.RawMessage `json:"exports,omitempty"`
	DispatchNamespace  string          `json:"dispatch_namespace,omitempty"`
	CreatedOn          Time            `json:"created_on"`
	ModifiedOn         Time            `json:"modified_on"`
}

// NamedHandlers is a named export of a script and the events it handles.
type NamedHandlers struct {
	Name     string   `json:"name"`
	Handlers []string `json:"handlers"`
}

// Limits are a script's own limits.
type Limits struct {
	CPUMs       int64 `json:"cpu_ms,omitempty"`
	Subrequests int64 `json:"subrequests,omitempty"`
}

// NamespaceScript is a script of a dispatch namespace: GET .../scripts/{script}, whose Script.MigrationTag wrangler reads.
type NamespaceScript struct {
	CreatedOn         Time   `json:"created_on"`
	ModifiedOn        Time   `json:"modified_on"`
	DispatchNamespace string `json:"dispatch_namespace"`
	Script            Script `json:"script"`
}

// ListedScript is an item of a list of scripts: flat, as every known client of the list reads it, and in a namespace nested
// as well, as the API reference has it.
type ListedScript struct {
	Script
	Nested *Script `json:"script,omitempty"`
}

// Upload is the answer to the upload of a script or of its content. DeploymentID is the version's id, which wrangler prints
// as "Current Version ID".
type Upload struct {
	Script
	StartupTimeMs int64             `json:"startup_time_ms"`
	DeploymentID  string            `json:"deployment_id"`
	EntryPoint    string            `json:"entry_point"`
	Bindings      []json.RawMessage `json:"bindings"`
}

// Settings are the settings of a script: GET and PATCH .../settings. Metadata fields that the node does not know stand
// beside these.
type Settings struct {
	Bindings           []json.RawMessage `json:"bindings"`
	CompatibilityDate  string            `json:"compatibility_date"`
	CompatibilityFlags []string          `json:"compatibility_flags"`
	Limits             *Limits           `json:"limits,omitempty"`
	Logpush            bool              `json:"logpush"`
	MigrationTag       string            `json:"migration_tag,omitempty"`
	Observability      json.RawMessage   `json:"observability,omitempty"`
	Placement          json.RawMessage   `json:"placement"`
	Tags               []string          `json:"tags"`
	TailConsumers      json.RawMessage   `json:"tail_consumers"`
	UsageModel         string            `json:"usage_model"`
}

// ScriptSettings are the settings that belong to a script and to none of its versions: GET and PATCH .../script-settings.
type ScriptSettings struct {
	Tags          []string        `json:"tags"`
	Logpush       bool            `json:"logpush"`
	Observability json.RawMessage `json:"observability,omitempty"`
	TailConsumers json.RawMessage `json:"tail_consumers"`
}
