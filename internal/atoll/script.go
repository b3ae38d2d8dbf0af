package atoll

import (
	"encoding/json"
	"time"
)

// Namespace is a dispatch namespace.
type Namespace struct {
	ID       string // UUID
	Account  AccountID
	Name     NamespaceName
	Trusted  bool // trusted_workers: its Workers see request.cf and caches.default
	Settings NamespaceSettings
	Scripts  int64
	Created  time.Time
	Modified time.Time
}

// NamespaceSettings are what an operator sets for all Workers of a dispatch namespace; zero fields are not set. They are
// ours, Cloudflare has none of them.
type NamespaceSettings struct {
	CPUMs       int64 `json:"cpu_ms,omitempty"`      // CPU time of one invocation at the most
	SubRequests int64 `json:"subrequests,omitempty"` // subrequests of one invocation at the most
	MemoryMB    int   `json:"memory_mb,omitempty"`   // memory of an isolate, in MiB
	Jitless     bool  `json:"jitless,omitempty"`     // V8 makes no machine code at run time: slower, and no WebAssembly
}

// Script is a script as a whole; what runs is its active Version.
type Script struct {
	Ref              ScriptRef
	Tag              string // 32 hex digits, fixed at the first upload
	Tags             []string
	Logpush          bool
	Observability    json.RawMessage // as sent; nil where never sent
	TailConsumers    json.RawMessage
	MigrationTag     string
	LastDeployedFrom string // "api", "wrangler" or "dash"
	Created          time.Time
	Modified         time.Time
	Active           VersionID         // deployed at 100%
	Version          *Version          // the active version; nil in lists that do not load it
	Settings         NamespaceSettings // of its dispatch namespace
	Classes          []Class           // whose instances are Durable Objects, by name
	Outbound         json.RawMessage   // what its objects send their subrequests by; the dispatcher's own
}

// Version is one immutable upload of a script: its modules, bindings and settings.
type Version struct {
	ID                 VersionID
	Number             int // 1, 2, 3 ... in its script
	Created            time.Time
	Source             string            // "api", "wrangler" or "dash"
	Annotations        map[string]string // "workers/message", "workers/tag", "workers/triggered_by"
	MainModule         string            // the entry of an ES module Worker; empty for service-worker syntax
	BodyPart           string            // the entry of a service-worker script; empty for ES modules
	Modules            []Module
	CompatibilityDate  string // YYYY-MM-DD
	CompatibilityFlags []string
	Bindings           []Binding
	Limits             Limits
	Placement          json.RawMessage
	UsageModel         string
	Migrations         json.RawMessage
	Extra              map[string]json.RawMessage // metadata fields this node does not know, kept and returned
	Etag               string                     // hex of the content's hash
	Handlers           []string                   // of the default export: "fetch", "scheduled", ...
	NamedHandlers      []NamedHandlers            // of the other exports
	StartupMs          int64
	Trusted            bool    // deployed to the account, or to a namespace that was trusted then
	Assets             *Assets // nil: none
	Classes            []Class // the script's when the version was made
}

// HasCode reports whether the version has a Worker; one without has only assets.
func (v *Version) HasCode() bool { return v.MainModule != "" || v.BodyPart != "" }

// Assets are a version's static files and how they are served.
type Assets struct {
	Manifest string       `json:"manifest"` // the blob that lists the files, see package assets
	Files    int          `json:"files"`
	Size     int64        `json:"size"` // of all files together, in bytes
	Config   AssetsConfig `json:"config"`
}

// AssetsConfig says how assets are served, as uploaded in metadata.assets.config; an empty field is the default.
type AssetsConfig struct {
	HTMLHandling     string   `json:"html_handling,omitempty"`
	NotFoundHandling string   `json:"not_found_handling,omitempty"`
	BasePath         string   `json:"base_path,omitempty"`
	WorkerFirst      bool     `json:"run_worker_first,omitempty"`       // the Worker before all assets
	WorkerFirstRules []string `json:"run_worker_first_rules,omitempty"` // the Worker before the assets of these paths
	Headers          string   `json:"_headers,omitempty"`               // the file of that name
	Redirects        string   `json:"_redirects,omitempty"`
}

// AssetClaim is what a client calls content that it has uploaded for a script's assets, and what it is.
type AssetClaim struct {
	Claim string // the client's own hash
	Blob  string // the SHA-256 of the content, hex
	Size  int64
	Type  string // its content type, as uploaded; empty: without one
}

// Limits are what a script's own configuration bounds; zero means not set.
type Limits struct {
	CPUMs       int64 `json:"cpu_ms,omitempty"`
	SubRequests int64 `json:"subrequests,omitempty"`
}

// NamedHandlers is a named export and the events it handles.
type NamedHandlers struct {
	Name     string   `json:"name"`
	Handlers []string `json:"handlers"`
}

// ModuleType says how workerd loads a module.
type ModuleType string

// The module types of an upload.
const (
	ESModule  ModuleType = "esm"
	CommonJS  ModuleType = "commonjs"
	Text      ModuleType = "text"
	Data      ModuleType = "data"
	JSON      ModuleType = "json"
	Wasm      ModuleType = "wasm"
	SourceMap ModuleType = "sourcemap" // stored, never loaded
)

// Module is one file of a version. Its bytes are in the blob store under Hash.
type Module struct {
	Name        string     `json:"name"`
	Type        ModuleType `json:"type"`
	ContentType string     `json:"content_type"` // as uploaded
	Hash        string     `json:"hash"`         // SHA-256, hex
	Size        int64      `json:"size"`
}

// Binding is one name in a Worker's env. Fields holds the whole object as the API returns it (with name and type,
// without secret values); Secret holds the value of a secret_text or the key material of a secret_key, and is encrypted
// at rest.
type Binding struct {
	Name   string
	Type   string // "plain_text", "kv_namespace", ...
	Fields json.RawMessage
	Secret []byte
}
