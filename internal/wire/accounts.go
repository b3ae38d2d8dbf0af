package wire

// Account is an account of the node.
type Account struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Type      string `json:"type,omitempty"`
	CreatedOn string `json:"created_on,omitempty"`
}
