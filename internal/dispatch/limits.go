package dispatch

import (
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/invocation"
)

// MaxCPU is the most CPU time that a script may ask for one invocation:
// https://developers.cloudflare.com/workers/platform/limits/#cpu-time
const MaxCPU = 300 * time.Second

// limits are those of one invocation: what the script asks for or else the node's defaults, and of that and the call's own
// the lowest.
func (d *Dispatcher) limits(v *atoll.Version, call invocation.Limits) invocation.Limits {
	own := invocation.Limits{CPU: min(time.Duration(v.Limits.CPUMs)*time.Millisecond, MaxCPU), SubRequests: v.Limits.SubRequests}
	if own.CPU == 0 {
		own.CPU = d.opts.Limits.CPU
	}
	if own.SubRequests == 0 {
		own.SubRequests = d.opts.Limits.SubRequests
	}
	return own.Lowest(call)
}
