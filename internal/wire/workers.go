package wire

import "encoding/json"

// Subdomain is an account's workers.dev name.
type Subdomain struct {
	Subdomain string `json:"subdomain"`
}

// ScriptSubdomain says whether a script answers under its account's workers.dev name.
type ScriptSubdomain struct {
	Enabled         bool `json:"enabled"`
	PreviewsEnabled bool `json:"previews_enabled"`
}

// ScriptSubdomainChange sets ScriptSubdomain; nil leaves a field as it is.
type ScriptSubdomainChange struct {
	Enabled         *bool `json:"enabled"`
	PreviewsEnabled *bool `json:"previews_enabled,omitempty"`
}

// Schedule is a cron trigger.
type Schedule struct {
	Cron       string `json:"cron"`
	CreatedOn  Time   `json:"created_on,omitzero"`
	ModifiedOn Time   `json:"modified_on,omitzero"`
}

// Schedules are a script's cron triggers.
type Schedules struct {
	Schedules []Schedule `json:"schedules"`
}

// Service is an account script as GET .../workers/services/{script} shows it.
type Service struct {
	ID                 string               `json:"id"`
	CreatedOn          Time                 `json:"created_on"`
	ModifiedOn         Time                 `json:"modified_on"`
	UsageModel         string               `json:"usage_model"`
	DefaultEnvironment Environment          `json:"default_environment"`
	Environments       []EnvironmentSummary `json:"environments"`
}

// Environment is the one environment of a Service, "production".
type Environment struct {
	EnvironmentSummary
	Script Script `json:"script"`
}

// EnvironmentSummary names an environment.
type EnvironmentSummary struct {
	Environment string `json:"environment"`
	CreatedOn   Time   `json:"created_on"`
	ModifiedOn  Time   `json:"modified_on"`
}

// Worker is an account script as GET .../workers/workers/{script} shows it. wrangler needs Subdomain to be there.
type Worker struct {
	ID            string           `json:"id"`
	Name          string           `json:"name"`
	CreatedOn     Time             `json:"created_on"`
	UpdatedOn     Time             `json:"updated_on"`
	DeployedOn    *Time            `json:"deployed_on,omitempty"`
	Logpush       bool             `json:"logpush"`
	Observability json.RawMessage  `json:"observability,omitempty"`
	Subdomain     ScriptSubdomain  `json:"subdomain"`
	Tags          []string         `json:"tags"`
	TailConsumers json.RawMessage  `json:"tail_consumers"`
	References    WorkerReferences `json:"references"`
}

// WorkerReferences is what refers to a Worker, in Worker's form.
type WorkerReferences struct {
	DispatchNamespaceOutbounds []DispatchOutbound `json:"dispatch_namespace_outbounds"`
	Domains                    []json.RawMessage  `json:"domains"`
	DurableObjects             []json.RawMessage  `json:"durable_objects"`
	Queues                     []json.RawMessage  `json:"queues"`
	Workers                    []ServiceReference `json:"workers"`
}

// References is what refers to an account script, and what it refers to: wrangler asks before it deletes one.
type References struct {
	Services          ServiceReferences  `json:"services"`
	DurableObjects    []json.RawMessage  `json:"durable_objects"`
	DispatchOutbounds []DispatchOutbound `json:"dispatch_outbounds"`
}

// ServiceReferences are service bindings to a script and from it.
type ServiceReferences struct {
	Incoming []ServiceReference `json:"incoming"`
	Outgoing []ServiceReference `json:"outgoing"`
}

// ServiceReference is one service binding: its name, and the script at the other end.
type ServiceReference struct {
	Name        string `json:"name"`
	Service     string `json:"service"`
	Environment string `json:"environment"`
}

// DispatchOutbound is a dispatch namespace binding of script Service whose outbound Worker is the script asked about.
type DispatchOutbound struct {
	ServiceReference
	Namespace string     `json:"namespace"`
	Params    []NamedArg `json:"params"`
}

// NamedArg is a parameter of an outbound Worker.
type NamedArg struct {
	Name string `json:"name"`
}

// TailProducer is a script that sends its tail events to another.
type TailProducer struct {
	Tag        string     `json:"tag"`
	Producer   ServiceEnd `json:"producer"`
	Consumer   ServiceEnd `json:"consumer"`
	CreatedOn  Time       `json:"created_on"`
	ModifiedOn Time       `json:"modified_on"`
}

// ServiceEnd names a script in a TailProducer.
type ServiceEnd struct {
	Service     string `json:"service"`
	Environment string `json:"environment"`
}
