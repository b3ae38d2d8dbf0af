package wire

// Zone is a zone: a name under which routes live.
type Zone struct {
	ID          string     `json:"id"`
	Name        string     `json:"name"`
	Status      string     `json:"status"` // "active"
	Type        string     `json:"type"`   // "full"
	Paused      bool       `json:"paused"`
	Account     AccountRef `json:"account"`
	NameServers []string   `json:"name_servers"`
	CreatedOn   Time       `json:"created_on"`
	ModifiedOn  Time       `json:"modified_on"`
}

// NewZone asks for a zone.
type NewZone struct {
	Name    string      `json:"name"`
	Account *AccountRef `json:"account,omitempty"`
}

// Route maps a pattern of host and path to an account script. A route without Script opts its pattern out.
type Route struct {
	ID       string `json:"id,omitempty"`
	Pattern  string `json:"pattern"`
	Script   string `json:"script,omitempty"`
	ZoneID   string `json:"zone_id,omitempty"`
	ZoneName string `json:"zone_name,omitempty"`
}
