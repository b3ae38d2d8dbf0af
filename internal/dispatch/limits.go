package dispatch

import (
	"slices"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/invocation"
)

// The exceptions that the node makes of what a Worker did not answer. The messages are Cloudflare's where it has one:
// https://developers.cloudflare.com/workers/observability/errors/
var (
	// ErrNeverResponds is workerd's own failure of a request: the handler has nothing left to wait for.
	ErrNeverResponds = &Exception{Name: "Error", Message: "The script will never generate a response."}
	// ErrCrashed is the end of a request whose process died.
	ErrCrashed = &Exception{Name: "Error", Message: "The Worker's process ended before it answered."}
	// ErrCrashLoop refuses a request to a Worker whose process has died again and again and is not started for the moment.
	ErrCrashLoop = &Exception{Name: "Error", Message: "The Worker keeps crashing and is not restarted yet."}
	// ErrTooDeep ends a chain of Workers that call one another.
	ErrTooDeep = &Exception{Name: "Error", Message: "Subrequest depth limit exceeded. This request recursed through Workers too many times."}
	// ErrCPU is the end of a request that used more CPU time than it may.
	ErrCPU = &Exception{Name: "Error", Message: "Worker exceeded CPU time limit."}
	// ErrMemory is the end of the requests of a process that used more memory than it may.
	ErrMemory = &Exception{Name: "Error", Message: "Worker exceeded memory limit."}
	// ErrWall is the end of a request that took longer than it may.
	ErrWall = &Exception{Name: "Error", Message: "Worker exceeded wall time limit."}
	// ErrBusy refuses a request to a script that handles as many as it may.
	ErrBusy = &Exception{Name: "Error", Message: "Worker exceeded concurrent requests limit."}
	// ErrSockets refuses a WebSocket to a script that has as many as it may.
	ErrSockets = &Exception{Name: "Error", Message: "Worker exceeded WebSocket limit."}
)

// resources are the refusals of limits: clients of an uncaught one see error 1102.
var resources = []*Exception{ErrCPU, ErrMemory, ErrWall, ErrBusy, ErrSockets}

// Resource reports whether e is the refusal of a limit, though it may have crossed a process since.
func (e *Exception) Resource() bool {
	return slices.ContainsFunc(resources, func(r *Exception) bool { return r.Message == e.Message })
}

// MaxCPU is the most CPU time that a script may ask for one invocation:
// https://developers.cloudflare.com/workers/platform/limits/#cpu-time
const MaxCPU = 300 * time.Second

// limits are those of one invocation: what the script asks for or else the node's defaults, and of that, its namespace's and
// the call's own the lowest.
func (d *Dispatcher) limits(v *atoll.Version, ns atoll.NamespaceSettings, call invocation.Limits) invocation.Limits {
	own := invocation.Limits{CPU: min(time.Duration(v.Limits.CPUMs)*time.Millisecond, MaxCPU), SubRequests: v.Limits.SubRequests}
	if own.CPU == 0 {
		own.CPU = d.opts.Limits.CPU
	}
	if own.SubRequests == 0 {
		own.SubRequests = d.opts.Limits.SubRequests
	}
	return own.Lowest(invocation.Limits{CPU: time.Duration(ns.CPUMs) * time.Millisecond, SubRequests: ns.SubRequests}).Lowest(call)
}

// enter counts a request to the script, or refuses it when there are too many. leave must be called once it has ended.
func (s *script) enter(webSocket bool, o Options) (leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// A platform Worker is what all tenants' requests pass through: a bound here would let one of them use it up.
	if s.ref.Namespace != "" {
		if s.requests >= o.MaxConcurrent {
			return nil, ErrBusy
		}
		if webSocket && s.sockets >= o.MaxWebSockets {
			return nil, ErrSockets
		}
	}
	s.requests++
	if webSocket {
		s.sockets++
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.requests--
		if webSocket {
			s.sockets--
		}
	}, nil
}
