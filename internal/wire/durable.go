package wire

// DurableObjectNamespace is the Durable Objects of a class:
// https://developers.cloudflare.com/api/resources/durable_objects/subresources/namespaces/
type DurableObjectNamespace struct {
	ID                string `json:"id"`
	Name              string `json:"name"`
	Script            string `json:"script"`
	Class             string `json:"class"`
	UseSQLite         bool   `json:"use_sqlite"`
	DispatchNamespace string `json:"dispatch_namespace,omitempty"` // ours: where the script is
}

// DurableObject is one of them.
type DurableObject struct {
	ID            string `json:"id"`
	HasStoredData bool   `json:"hasStoredData"`
}
