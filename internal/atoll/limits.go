package atoll

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// NodeLimits bound what is done on a node. The comments name the limit as `atoll serve --limit NAME=VALUE` does;
// docs/limits.md tells what becomes of whoever exceeds one. DefaultLimits has a value for each; zero means no bound.
type NodeLimits struct {
	CPUMs              int64 // cpu-ms: CPU time of an invocation whose script asks for none of its own
	StartupCPUMs       int64 // startup-cpu-ms: CPU time in which a Worker must load
	SubRequests        int64 // subrequests: of an invocation whose script asks for none of its own
	MemoryMB           int64 // memory-mb: of a Worker's process, where its namespace sets none; in MiB
	WallMs             int64 // wall-ms: how long a request may take, WebSockets aside
	ConcurrentRequests int64 // concurrent-requests: of one user Worker
	WebSockets         int64 // websockets: open at once to one user Worker
	Processes          int64 // processes: of one script; zero: as many as the machine has cores

	RequestBody  int64 // request-body: bytes that a client may send
	ResponseBody int64 // response-body: bytes that a client is answered with
	HeaderBytes  int64 // header-bytes: of a client's request
	URLBytes     int64 // url-bytes: of a client's request

	OpenSubRequests  int64 // open-subrequests: of one script, under way at once
	OpenSockets      int64 // open-sockets: connect()ed by one script
	SubRequestAnswer int64 // subrequest-answer: bytes of the body that a subrequest is answered with

	LogBytes int64 // log-bytes: what an invocation may write to its console

	// What one account keeps in each store, in bytes. Whatever would exceed it is refused with fault.Full and the store's
	// documented code; see docs/limits.md, "Storage".
	KVStorage      int64 // kv-storage
	D1Storage      int64 // d1-storage
	D1History      int64 // d1-history: bytes of what an account's databases were, for time travel; beyond it the oldest makes room
	D1HistoryDays  int64 // d1-history-days: for how long it is kept
	R2Storage      int64 // r2-storage
	QueueStorage   int64 // queue-storage
	DurableStorage int64 // durable-storage: of Durable Objects
	CacheStorage   int64 // cache-storage: beyond it the account's oldest entries make room

	CacheMemory int64 // cache-memory: bytes of the Cache API's small entries on the node
	CacheDisk   int64 // cache-disk: bytes of its large ones
	CacheScript int64 // cache-script: bytes that one script has in its caches, or one trusted namespace

	QueueBacklog int64 // queue-backlog: bytes of the messages in one queue

	AnalyticsStorage int64 // analytics-storage: bytes of an account's data points; further ones are dropped

	UploadBytes     int64 // upload-bytes: of the request that uploads a script
	ScriptSize      int64 // script-size: bytes of a script, compressed, source maps aside
	ScriptPlainSize int64 // script-plain-size: likewise, not compressed
	Modules         int64 // modules: of a script
	Variables       int64 // variables: text, JSON and secret bindings of a script
	VariableBytes   int64 // variable-bytes: of one of them
}

// DefaultLimits are those of a node that was told none; Cloudflare's where it has one:
// https://developers.cloudflare.com/workers/platform/limits/
func DefaultLimits() NodeLimits {
	return NodeLimits{
		CPUMs: 30_000, StartupCPUMs: 1000, SubRequests: 10_000, MemoryMB: 128, WallMs: 900_000,
		ConcurrentRequests: 1000, WebSockets: 1000,
		RequestBody: 100 * mega, HeaderBytes: 128 * kilo, URLBytes: 16 * kilo,
		OpenSubRequests: 512, OpenSockets: 64, SubRequestAnswer: 10 * giga,
		LogBytes:  256 * kilo,
		D1History: 4 * giga, D1HistoryDays: 30,
		CacheMemory: 64 * mega, CacheDisk: 4 * giga, CacheScript: giga, QueueBacklog: 25 * giga, AnalyticsStorage: 10 * giga,
		UploadBytes: 100 * mega, ScriptSize: 10 * mega, ScriptPlainSize: 64 * mega, Modules: 1000,
		Variables: 128, VariableBytes: 5 * kilo,
	}
}

const (
	kilo = 1 << 10
	mega = 1 << 20
	giga = 1 << 30
)

// NodeLimit is one field of NodeLimits as an operator sets it.
type NodeLimit struct {
	Name     string
	Min, Max int64
	Bytes    bool // a number of bytes, which may be written in KB, MB or GB
	None     bool // "none" is allowed: no bound
	Soon     bool // of a part that the node does not have yet: it can be neither set nor seen
	field    func(*NodeLimits) *int64
}

// AllNodeLimits lists the fields of NodeLimits in their order.
func AllNodeLimits() []NodeLimit {
	count := func(name string, min, max int64, field func(*NodeLimits) *int64) NodeLimit {
		return NodeLimit{Name: name, Min: min, Max: max, field: field}
	}
	bytes := func(name string, min, max int64, field func(*NodeLimits) *int64) NodeLimit {
		return NodeLimit{Name: name, Min: min, Max: max, Bytes: true, field: field}
	}
	none := func(l NodeLimit) NodeLimit { l.None = true; return l }
	storage := func(store string, field func(*NodeLimits) *int64) NodeLimit {
		return none(bytes(store+"-storage", 1, 1<<20*giga, field))
	}
	return []NodeLimit{
		count("cpu-ms", 1, MaxCPUMs, func(l *NodeLimits) *int64 { return &l.CPUMs }),
		count("startup-cpu-ms", 1, 60_000, func(l *NodeLimits) *int64 { return &l.StartupCPUMs }),
		count("subrequests", 1, MaxSubRequests, func(l *NodeLimits) *int64 { return &l.SubRequests }),
		count("memory-mb", MinMemoryMB, MaxMemoryMB, func(l *NodeLimits) *int64 { return &l.MemoryMB }),
		count("wall-ms", 1, 86_400_000, func(l *NodeLimits) *int64 { return &l.WallMs }),
		count("concurrent-requests", 1, 1_000_000, func(l *NodeLimits) *int64 { return &l.ConcurrentRequests }),
		count("websockets", 1, 1_000_000, func(l *NodeLimits) *int64 { return &l.WebSockets }),
		count("processes", 1, 1024, func(l *NodeLimits) *int64 { return &l.Processes }),
		bytes("request-body", 1, 1024*giga, func(l *NodeLimits) *int64 { return &l.RequestBody }),
		none(bytes("response-body", 1, 1024*giga, func(l *NodeLimits) *int64 { return &l.ResponseBody })),
		bytes("header-bytes", 4*kilo, 256*kilo, func(l *NodeLimits) *int64 { return &l.HeaderBytes }),
		bytes("url-bytes", 256, 128*kilo, func(l *NodeLimits) *int64 { return &l.URLBytes }),
		count("open-subrequests", 1, 1_000_000, func(l *NodeLimits) *int64 { return &l.OpenSubRequests }),
		count("open-sockets", 1, 1_000_000, func(l *NodeLimits) *int64 { return &l.OpenSockets }),
		bytes("subrequest-answer", 1, 1024*giga, func(l *NodeLimits) *int64 { return &l.SubRequestAnswer }),
		bytes("log-bytes", 1*kilo, 64*mega, func(l *NodeLimits) *int64 { return &l.LogBytes }),
		storage("kv", func(l *NodeLimits) *int64 { return &l.KVStorage }),
		storage("d1", func(l *NodeLimits) *int64 { return &l.D1Storage }),
		bytes("d1-history", mega, 1<<20*giga, func(l *NodeLimits) *int64 { return &l.D1History }),
		count("d1-history-days", 1, 365, func(l *NodeLimits) *int64 { return &l.D1HistoryDays }),
		storage("r2", func(l *NodeLimits) *int64 { return &l.R2Storage }),
		storage("queue", func(l *NodeLimits) *int64 { return &l.QueueStorage }),
		storage("durable", func(l *NodeLimits) *int64 { return &l.DurableStorage }),
		storage("cache", func(l *NodeLimits) *int64 { return &l.CacheStorage }),
		bytes("cache-memory", mega, 1024*giga, func(l *NodeLimits) *int64 { return &l.CacheMemory }),
		bytes("cache-disk", mega, 1<<20*giga, func(l *NodeLimits) *int64 { return &l.CacheDisk }),
		bytes("cache-script", mega, 1<<20*giga, func(l *NodeLimits) *int64 { return &l.CacheScript }),
		none(bytes("queue-backlog", 1, 1<<20*giga, func(l *NodeLimits) *int64 { return &l.QueueBacklog })),
		storage("analytics", func(l *NodeLimits) *int64 { return &l.AnalyticsStorage }),
		bytes("upload-bytes", 1*mega, 4*giga, func(l *NodeLimits) *int64 { return &l.UploadBytes }),
		bytes("script-size", 1, giga, func(l *NodeLimits) *int64 { return &l.ScriptSize }),
		bytes("script-plain-size", 1, giga, func(l *NodeLimits) *int64 { return &l.ScriptPlainSize }),
		count("modules", 1, 10_000, func(l *NodeLimits) *int64 { return &l.Modules }),
		count("variables", 1, 10_000, func(l *NodeLimits) *int64 { return &l.Variables }),
		bytes("variable-bytes", 1, mega, func(l *NodeLimits) *int64 { return &l.VariableBytes }),
	}
}

// Value is the limit as it is set in l, in the form that Set reads.
func (n NodeLimit) Value(l NodeLimits) string { return n.write(*n.field(&l)) }

func (n NodeLimit) write(v int64) string {
	if v == 0 {
		return "none"
	}
	for _, u := range byteUnits {
		if n.Bytes && v%u.size == 0 {
			return strconv.FormatInt(v/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(v, 10)
}

// byteUnits are binary, the largest first.
var byteUnits = []struct {
	name string
	size int64
}{{"GB", giga}, {"MB", mega}, {"KB", kilo}}

// Set changes the limit of a name. Its error says what is wrong, and lists the names where there is none such.
func (l *NodeLimits) Set(name, value string) error {
	var names []string
	for _, n := range AllNodeLimits() {
		if n.Name != name || n.Soon {
			if !n.Soon {
				names = append(names, n.Name)
			}
			continue
		}
		v, ok := n.parse(value)
		if !ok {
			return fmt.Errorf("%s=%s: it must be %s", name, value, n.wanted())
		}
		*n.field(l) = v
		return nil
	}
	return fmt.Errorf("there is no limit %q; the limits are %s", name, strings.Join(names, ", "))
}

// Bounds are the least and the most that the limit may be set to.
func (n NodeLimit) Bounds() string { return n.write(n.Min) + " to " + n.write(n.Max) }

// wanted says which values the limit may have.
func (n NodeLimit) wanted() string {
	text := "a whole number"
	if n.Bytes {
		text = "a number of bytes, KB, MB or GB"
	}
	text += " from " + n.Bounds()
	if n.None {
		text += ", or none"
	}
	return text
}

func (n NodeLimit) parse(s string) (v int64, ok bool) {
	if n.None && s == "none" {
		return 0, true
	}
	size := int64(1)
	if n.Bytes {
		s = strings.ToUpper(s)
		for _, u := range byteUnits {
			if rest, found := strings.CutSuffix(s, u.name); found {
				s, size = rest, u.size
			}
		}
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil || v < 0 || v > math.MaxInt64/size {
		return 0, false
	}
	v *= size
	return v, v >= n.Min && v <= n.Max
}
