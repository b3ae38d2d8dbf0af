package atoll

import "time"

// EgressRules say what the Workers of a dispatch namespace, or one Worker, may reach of what the node lets anyone reach.
// They narrow only: a destination has to pass the node, the namespace's rules and the script's.
type EgressRules struct {
	Allow    []string // host names, "*.example.com" for those below one, addresses and CIDR blocks; empty: everything
	Deny     []string // the same; it goes before Allow
	Ports    []string // "443", "8000-8999"; empty: every port
	TCP      *bool    // raw connect(); nil: as it is by default, off for user Workers and on for platform Workers
	Modified time.Time
}
