package isolate

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"atoll.dev/atoll/internal/hop"
	"atoll.dev/atoll/internal/workerd"
)

// Lanes is how many connections for RPC a service binding has to choose from. One is in use; the others lead to processes
// that were replaced and have sessions left.
const Lanes = 6

// rpcHost is the host that is asked for on a process's own socket for RPC. Only the node reaches that socket.
const rpcHost = "atoll"

// rpcSocket is where the sessions of other Workers come in: they get at our entrypoint alone, whatever they send.
func rpcSocket() workerd.Socket {
	return workerd.Socket{Name: "rpc", Address: "*:0", HTTP: workerd.HTTPOptions{CapnpConnectHost: rpcHost},
		Service: workerd.Designator{Name: "main", Entrypoint: "atoll rpc"}}
}

// laneServices are what a service binding connects to for RPC. The engine asks for a connection by a host name and nothing
// else, so that has to tell which binding's it is, and that it is not one that the Worker's code asks for: it holds a
// secret of the process's, and has no port, which connect() could not do without.
func laneServices(binding int, secret, address string) []workerd.Service {
	list := make([]workerd.Service, Lanes)
	for lane := range list {
		list[lane] = workerd.Service{Name: laneName(binding, lane), Kind: workerd.External{Address: address,
			HTTP: workerd.HTTPOptions{CapnpConnectHost: laneHost(secret, binding, lane)}}}
	}
	return list
}

func laneName(binding, lane int) string { return fmt.Sprintf("rpc/%d/%d", binding, lane) }

const lanePrefix = "atoll-rpc."

func laneHost(secret string, binding, lane int) string {
	return fmt.Sprintf("%s%s.%d.%d", lanePrefix, secret, binding, lane)
}

// serviceBinding is a service binding's value; js/service.js makes it. service is the outward service of its requests.
func serviceBinding(service string) workerd.BindingValue {
	index, _ := strconv.Atoi(strings.TrimPrefix(service, ServiceBinding))
	inner := []workerd.Binding{
		{Name: "fetcher", Value: workerd.Fetcher{Name: service}},
		{Name: "index", Value: workerd.JSON(strconv.Itoa(index))},
	}
	for lane := range Lanes {
		inner = append(inner, workerd.Binding{Name: "lane" + strconv.Itoa(lane), Value: workerd.Fetcher{Name: laneName(index, lane)}})
	}
	return workerd.Wrapped{Module: serviceModule, Inner: inner}
}

// Lane reads which of its service bindings a process wants a connection for RPC of, and by which lane, from the host that it
// asks to be connected with. ours is false for any other host.
func (p *Process) Lane(host string) (binding, lane int, ours bool) {
	rest, ok := strings.CutPrefix(host, lanePrefix)
	secret, rest, cut := strings.Cut(rest, ".")
	if !ok || !cut || subtle.ConstantTimeCompare([]byte(secret), []byte(p.secret)) != 1 {
		return 0, 0, false
	}
	b, l, _ := strings.Cut(rest, ".")
	binding, err := strconv.Atoi(b)
	lane, err2 := strconv.Atoi(l)
	if err != nil || err2 != nil || binding < 0 || binding >= len(p.Spec.Version.Bindings) || lane < 0 || lane >= Lanes {
		return 0, 0, false
	}
	return binding, lane, p.Spec.Version.Bindings[binding].Type == "service"
}

// RPC connects with the process for RPC sessions that its entrypoint is to take. The error is hop.ErrRefused where nothing
// listens any more.
func (p *Process) RPC(ctx context.Context) (net.Conn, error) { return hop.Connect(ctx, p.rpc, rpcHost) }

// Retired calls f when the process is retired, or at once where it has been. f must not wait.
func (p *Process) Retired(f func()) {
	p.mu.Lock()
	over := p.mu.retired
	if !over {
		p.mu.onRetire = append(p.mu.onRetire, f)
	}
	p.mu.Unlock()
	if over {
		f()
	}
}

// laneNews is how long a process is told of lanes that have changed, with each of its requests: the first may be lost.
const laneNews = 2 * time.Second

// laneTable is which lane each service binding of a process is to use, where that is not the first.
type laneTable struct {
	mu      sync.Mutex
	lanes   map[int]int
	changed time.Time
}

// SetLane has the process use another lane for new RPC sessions of a binding.
func (p *Process) SetLane(binding, lane int) {
	p.lanes.mu.Lock()
	defer p.lanes.mu.Unlock()
	if p.lanes.lanes == nil {
		p.lanes.lanes = map[int]int{}
	}
	p.lanes.lanes[binding] = lane
	p.lanes.changed = time.Now()
}

// RepeatLanes has the process be told of its lanes once more, with the requests that come next.
func (p *Process) RepeatLanes() {
	p.lanes.mu.Lock()
	defer p.lanes.mu.Unlock()
	p.lanes.changed = time.Now()
}

// LaneNews is what a request tells the process of lanes, as HeaderLanes; empty where nothing is new.
func (p *Process) LaneNews() string {
	p.lanes.mu.Lock()
	defer p.lanes.mu.Unlock()
	if p.lanes.lanes == nil || time.Since(p.lanes.changed) > laneNews {
		return ""
	}
	b, _ := json.Marshal(p.lanes.lanes) // a map of numbers
	return string(b)
}
