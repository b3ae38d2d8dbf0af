package wire

// EgressRules say what Workers may reach; they are Atoll's own. Scripts, in a namespace's rules, are those that have rules
// of their own.
type EgressRules struct {
	Allow      []string  `json:"allow"`
	Deny       []string  `json:"deny"`
	Ports      []string  `json:"ports"`
	TCP        *bool     `json:"tcp"` // null: as it is by default
	ModifiedOn *Time     `json:"modified_on,omitempty"`
	Scripts    *[]string `json:"scripts,omitempty"`
}
