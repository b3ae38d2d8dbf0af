package wire

// Zone is a domain whose requests the node answers.
type Zone struct {
	ID      string  `json:"id"`
	Name    string  `json:"name"`
	Status  string  `json:"status"`
	Account Account `json:"account"`
}

// Route is a pattern of a zone and the script it leads to; without a script, the pattern opts out.
type Route struct {
	ID      string `json:"id,omitempty"`
	Pattern string `json:"pattern"`
	Script  string `json:"script,omitempty"`
}
