package node

import (
	"runtime"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/cache"
	"atoll.dev/atoll/internal/dispatch"
	"atoll.dev/atoll/internal/edge"
	"atoll.dev/atoll/internal/invocation"
	"atoll.dev/atoll/internal/upload"
)

// This file gives each part of a node its share of the limits. What they leave out is the part's own default.

func millis(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

func callLimits(l atoll.NodeLimits) dispatch.Options {
	if l.Processes == 0 {
		l.Processes = int64(runtime.NumCPU())
	}
	return dispatch.Options{
		MaxPerCores: int(l.Processes), StartupCPU: millis(l.StartupCPUMs), Wall: millis(l.WallMs),
		MaxConcurrent: int(l.ConcurrentRequests), MaxWebSockets: int(l.WebSockets),
		Limits: invocation.Limits{CPU: millis(l.CPUMs), SubRequests: l.SubRequests},
	}
}

func edgeLimits(l atoll.NodeLimits) edge.Options {
	return edge.Options{MaxURL: int(l.URLBytes), MaxHeader: int(l.HeaderBytes), MaxBody: l.RequestBody, MaxResponse: l.ResponseBody}
}

func cacheLimits(l atoll.NodeLimits) cache.Options {
	return cache.Options{Memory: l.CacheMemory, Disk: l.CacheDisk, Owner: l.CacheScript, Account: l.CacheStorage}
}

func uploadLimits(l atoll.NodeLimits) upload.Limits {
	return upload.Limits{Body: l.UploadBytes, Modules: int(l.Modules), Plain: l.ScriptPlainSize, Compressed: l.ScriptSize,
		Variables: int(l.Variables), VariableBytes: int(l.VariableBytes)}
}

// apiBody is the most that the API reads of a request: an upload, or KV pairs in bulk.
func apiBody(l atoll.NodeLimits) int64 { return max(256<<20, l.UploadBytes) }
