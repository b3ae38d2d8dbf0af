package atoll

import "atoll.dev/atoll/internal/fault"

// The bounds of what may be set for a script, a namespace or a node. CPU time and subrequests are Cloudflare's:
// https://developers.cloudflare.com/workers/platform/limits/. An isolate of less memory than MinMemoryMB does not start.
const (
	MaxCPUMs       = 300_000
	MaxSubRequests = 10_000_000
	MinMemoryMB    = 16
	MaxMemoryMB    = 2048
)

// Validate refuses settings out of bounds, by the names they have in the API.
func (s NamespaceSettings) Validate() error {
	for _, f := range []struct {
		name            string
		value, min, max int64
	}{
		{"limits.cpu_ms", s.CPUMs, 1, MaxCPUMs},
		{"limits.subrequests", s.SubRequests, 1, MaxSubRequests},
		{"limits.memory_mb", int64(s.MemoryMB), MinMemoryMB, MaxMemoryMB},
	} {
		if f.value != 0 && (f.value < f.min || f.value > f.max) {
			return fault.Newf(fault.Invalid, 10021, "%s must be a whole number from %d to %d, or null to set none", f.name, f.min, f.max)
		}
	}
	return nil
}
