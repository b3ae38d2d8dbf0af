// Package invocation knows which events an isolate process is handling, so that what its code sends out is charged to the
// event that caused it.
//
// The dispatcher begins an [Invocation] for each event and sends its tag along, as the request's cf-ray: a header that
// Workers know, so that nothing has to be taken off the request again. Our wrapper inside the process keeps the tag in an
// AsyncLocalStorage and puts it on what the code sends out; the border looks it up among the invocations of the process
// that the request came from. docs/invocation.md is the whole story.
//
// # Invariants
//
// A tag means something in one process only: no script can name another script's invocation. A request without a valid tag
// is charged to the live invocation with the least left, so leaving the tag out never pays. An invocation is remembered
// for as long as its waitUntil work may last, and no longer.
//
// # Concurrency
//
// A Registry and its Invocations may be used concurrently.
package invocation

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"atoll.dev/atoll/internal/atoll"
)

// Limits bound one invocation. Zero fields are not bounded here.
type Limits struct {
	CPU         time.Duration
	SubRequests int64
}

// Lowest returns the lower of each limit.
func (l Limits) Lowest(m Limits) Limits {
	return Limits{CPU: lowest(l.CPU, m.CPU), SubRequests: lowest(l.SubRequests, m.SubRequests)}
}

func lowest[T int64 | time.Duration](a, b T) T {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// Outbound is the Worker that an invocation's subrequests go to, with the parameters of this one dispatch.
type Outbound struct {
	Worker     atoll.ScriptRef
	Entrypoint string
	Params     map[string]json.RawMessage // by declared name
}

// Key tells one outbound Worker from another; that of none is empty.
func (o *Outbound) Key() string {
	if o == nil {
		return ""
	}
	return o.Worker.String() + "#" + o.Entrypoint
}

// Options are what an invocation begins with.
type Options struct {
	Ray      string // the cf-ray that the request came with; becomes the tag where it is one and not in use
	Limits   Limits
	Outbound *Outbound // nil: subrequests go to the internet
	OnBehalf bool      // it is an outbound Worker's, of another Worker's subrequest
	Hops     int       // how many Workers called one another before this one
	Request  Request   // what it was given; kept until its response has ended
	Attended func()    // is called when it sends something, maybe often; nil: nobody wants to know
}

// Request is what an invocation's request has beside its URL.
type Request struct {
	Header map[string][]string // not to be changed; nil: it is not known
	Cf     string              // request.cf as JSON
}

// Invocation is one event handled by one Worker.
type Invocation struct {
	Tag string
	Options
	registry *Registry

	// Guarded by the registry's lock.
	used   int64     // subrequests
	points int64     // data points of Analytics Engine
	ended  time.Time // zero: its response has not ended
	since  time.Time // of a standing one: when it began to count anew; zero: it is none
}

// linger is how long an invocation's waitUntil work may go on after its response.
const linger = 30 * time.Second

// colo stands where Cloudflare names the data centre.
const colo = "-ATL"

// NewRay makes a request id in the form of Cloudflare's cf-ray: 16 hexadecimal digits and a data centre's name.
// https://developers.cloudflare.com/fundamentals/reference/http-headers/#cf-ray
func NewRay() string {
	var b [8]byte
	rand.Read(b[:]) // never fails, see crypto/rand
	return hex.EncodeToString(b[:]) + colo
}

func isRay(s string) bool {
	digits, ok := strings.CutSuffix(s, colo)
	if !ok || len(digits) != 16 {
		return false
	}
	for i := range len(digits) {
		if c := digits[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// Registry holds the invocations of one process.
type Registry struct {
	mu   sync.Mutex
	live map[string]*Invocation
	done []*Invocation // ended, in the order of their ends
}

// Begin registers a new invocation.
func (r *Registry) Begin(o Options) *Invocation {
	inv := &Invocation{Tag: o.Ray, Options: o, registry: r}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sweepLocked(time.Now())
	if r.live == nil {
		r.live = map[string]*Invocation{}
	}
	if !isRay(o.Ray) || r.live[o.Ray] != nil {
		inv.Tag = NewRay()
	}
	r.live[inv.Tag] = inv
	return inv
}

// standingFor is how long a standing invocation's subrequests count.
const standingFor = time.Minute

// Stand registers the invocation that stands for all events of the process that the node does not begin, under the tag
// o.Ray. It has its subrequests for each minute. A later call takes the place of an earlier one, and what that has used.
func (r *Registry) Stand(o Options) {
	inv := &Invocation{Tag: o.Ray, Options: o, registry: r, since: time.Now()}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.live == nil {
		r.live = map[string]*Invocation{}
	}
	if old := r.live[o.Ray]; old != nil {
		inv.used, inv.since = old.used, old.since
	}
	r.live[o.Ray] = inv
}

// End says that the invocation's response has ended; only its waitUntil work may still go on.
func (inv *Invocation) End() { inv.registry.end(inv, time.Now()) }

func (r *Registry) end(inv *Invocation, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if inv.ended.IsZero() {
		inv.ended = now
		inv.Request = Request{}
		r.done = append(r.done, inv)
	}
	r.sweepLocked(now)
}

// sweepLocked forgets the invocations whose waitUntil time has passed.
func (r *Registry) sweepLocked(now time.Time) {
	n := 0
	for n < len(r.done) && now.Sub(r.done[n].ended) > linger {
		delete(r.live, r.done[n].Tag)
		n++
	}
	r.done = r.done[n:]
}

// Lookup returns the invocation of a tag, or nil.
func (r *Registry) Lookup(tag string) *Invocation {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.live[tag]
}

// Request returns what the invocation of a tag was given; ok is false where that is not known any more.
func (r *Registry) Request(tag string) (req Request, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	inv := r.live[tag]
	if inv == nil || inv.Request.Header == nil {
		return Request{}, false
	}
	return inv.Request, true
}

// Only returns the process's single invocation, or nil where there are none or several.
func (r *Registry) Only() *Invocation {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sweepLocked(time.Now())
	if len(r.live) != 1 {
		return nil
	}
	for _, inv := range r.live {
		return inv
	}
	return nil
}

// Charge counts one subrequest of the invocation with the given tag and returns that invocation. Where the tag is missing
// or unknown, the live invocation with the least left pays. ok is false when nothing is left, or nobody is there to pay.
func (r *Registry) Charge(tag string) (inv *Invocation, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.sweepLocked(now)
	inv = r.live[tag]
	if inv == nil {
		for _, i := range r.live {
			if inv == nil || i.leftLocked() < inv.leftLocked() {
				inv = i
			}
		}
	}
	if inv == nil {
		return nil, false
	}
	if !inv.since.IsZero() && now.Sub(inv.since) >= standingFor {
		inv.used, inv.points, inv.since = 0, 0, now
	}
	if inv.leftLocked() <= 0 {
		return inv, false
	}
	inv.used++
	return inv, true
}

// Points counts data points that an invocation writes, and returns how many of n more are among the most that it may. Points
// of none are not taken: nobody need be charged for what may be left out.
func (r *Registry) Points(tag string, n, most int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.sweepLocked(now)
	inv := r.live[tag]
	if inv == nil {
		return 0
	}
	if !inv.since.IsZero() && now.Sub(inv.since) >= standingFor {
		inv.used, inv.points, inv.since = 0, 0, now
	}
	taken := min(int64(n), max(int64(most)-inv.points, 0))
	inv.points += taken
	return int(taken)
}

func (inv *Invocation) leftLocked() int64 {
	if inv.Limits.SubRequests == 0 {
		return 1 << 62
	}
	return inv.Limits.SubRequests - inv.used
}

// Deepest returns the most hops of any live invocation: where a request does not say whose it is, it may be that one's.
func (r *Registry) Deepest() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	most := 0
	for _, inv := range r.live {
		most = max(most, inv.Hops)
	}
	return most
}

// SubRequests returns how many subrequests have been charged.
func (inv *Invocation) SubRequests() int64 {
	inv.registry.mu.Lock()
	defer inv.registry.mu.Unlock()
	return inv.used
}
