package wire

import "encoding/json"

// Version is one upload of a script.
type Version struct {
	ID            string            `json:"id"`
	Number        int               `json:"number"`
	Metadata      VersionMetadata   `json:"metadata"`
	Annotations   map[string]string `json:"annotations"`
	Resources     VersionResources  `json:"resources"`
	StartupTimeMs int64             `json:"startup_time_ms"`
}

// VersionMetadata tells who made a version, and when. HasPreview is false: versions have no addresses of their own.
type VersionMetadata struct {
	CreatedOn   Time   `json:"created_on"`
	ModifiedOn  Time   `json:"modified_on"`
	Source      string `json:"source"`
	AuthorID    string `json:"author_id"`
	AuthorEmail string `json:"author_email"`
	HasPreview  bool   `json:"has_preview"`
	HasAssets   bool   `json:"has_assets"`
}

// VersionResources are what a version is made of.
type VersionResources struct {
	Bindings      []json.RawMessage `json:"bindings"`
	Script        VersionScript     `json:"script"`
	ScriptRuntime VersionRuntime    `json:"script_runtime"`
}

// VersionScript is the code of a version.
type VersionScript struct {
	Etag             string          `json:"etag"`
	Handlers         []string        `json:"handlers"`
	NamedHandlers    []NamedHandlers `json:"named_handlers"`
	LastDeployedFrom string          `json:"last_deployed_from"`
	PlacementMode    string          `json:"placement_mode,omitempty"`
}

// VersionRuntime is how a version is run.
type VersionRuntime struct {
	CompatibilityDate  string   `json:"compatibility_date"`
	CompatibilityFlags []string `json:"compatibility_flags"`
	UsageModel         string   `json:"usage_model"`
	Limits             *Limits  `json:"limits,omitempty"`
	MigrationTag       string   `json:"migration_tag,omitempty"`
}

// Versions is a page of versions, newest first.
type Versions struct {
	Items []Version `json:"items"`
}

// Deployment says which version of a script serves from CreatedOn.
type Deployment struct {
	ID          string              `json:"id"`
	Source      string              `json:"source"`
	Strategy    string              `json:"strategy"`
	AuthorEmail string              `json:"author_email"`
	Annotations map[string]string   `json:"annotations"`
	CreatedOn   Time                `json:"created_on"`
	Versions    []DeploymentVersion `json:"versions"`
}

// DeploymentVersion is a version's share of the requests, in percent.
type DeploymentVersion struct {
	VersionID  string  `json:"version_id"`
	Percentage float64 `json:"percentage"`
}

// Deployments are all deployments of a script, newest first.
type Deployments struct {
	Deployments []Deployment `json:"deployments"`
}

// DeploymentRequest asks to deploy a version: POST .../deployments. wrangler sends null for an annotation without a value.
type DeploymentRequest struct {
	Strategy    string              `json:"strategy"`
	Versions    []DeploymentVersion `json:"versions"`
	Annotations map[string]*string  `json:"annotations,omitempty"`
}

// WorkerVersion is a version as the newer resource of a Worker has it, where what it is made of is not nested.
type WorkerVersion struct {
	ID                 string            `json:"id"`
	Number             int               `json:"number"`
	CreatedOn          Time              `json:"created_on"`
	Annotations        map[string]string `json:"annotations"`
	Source             string            `json:"source"`
	Bindings           []json.RawMessage `json:"bindings"`
	CompatibilityDate  string            `json:"compatibility_date"`
	CompatibilityFlags []string          `json:"compatibility_flags"`
	MainModule         string            `json:"main_module,omitempty"`
	MigrationTag       string            `json:"migration_tag,omitempty"`
	StartupTimeMs      int64             `json:"startup_time_ms"`
	UsageModel         string            `json:"usage_model"`
}
