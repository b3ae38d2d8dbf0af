package wire

// Secret is a secret binding. Text is in requests only.
type Secret struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Text string `json:"text,omitempty"`
}
