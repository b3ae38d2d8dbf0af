package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"atoll.dev/atoll/internal/client"
	"atoll.dev/atoll/internal/wire"
)

// routerFlags are those of a built-in router.
type routerFlags struct {
	kind, namespace, kv string
	limits              wire.RouterLimits
	plans               []string
	outbound            string
	parameters          []string
}

// read returns the router that the flags describe, or nil.
func (f *routerFlags) read(ctx context.Context, c *client.Client) (*wire.Router, error) {
	if f.kind == "" {
		if f.namespace != "" || f.kv != "" || f.limits != (wire.RouterLimits{}) || len(f.plans) > 0 || f.outbound != "" || len(f.parameters) > 0 {
			return nil, hint(errors.New("these flags are a router's"), "say --router subdomain, --router path or --router kv, too")
		}
		return nil, nil
	}
	if f.namespace == "" {
		return nil, errors.New("a router needs --namespace, the dispatch namespace whose scripts it calls")
	}
	r := &wire.Router{Kind: f.kind, Namespace: f.namespace, Limits: f.limits}
	if f.kv != "" {
		ns, err := kvNamespace(ctx, c, f.kv)
		if err != nil {
			return nil, err
		}
		r.KVNamespaceID = ns.ID
	}
	for _, text := range f.plans {
		name, limits, err := parsePlan(text)
		if err != nil {
			return nil, err
		}
		if r.Plans == nil {
			r.Plans = map[string]wire.RouterLimits{}
		}
		r.Plans[name] = limits
	}
	if f.outbound != "" {
		r.Outbound = &wire.RouterOutbound{Service: f.outbound, Parameters: f.parameters}
	} else if len(f.parameters) > 0 {
		return nil, errors.New("--outbound-parameter needs --outbound")
	}
	return r, nil
}

// parsePlan reads "free=10,5": 10 ms of CPU time and 5 subrequests.
func parsePlan(text string) (name string, limits wire.RouterLimits, err error) {
	name, rest, ok := strings.Cut(text, "=")
	ms, n, both := strings.Cut(rest, ",")
	if ok && both && name != "" {
		limits.CPUMs, err = strconv.ParseInt(ms, 10, 64)
		if err == nil {
			limits.SubRequests, err = strconv.ParseInt(n, 10, 64)
		}
		if err == nil && limits.CPUMs >= 0 && limits.SubRequests >= 0 {
			return name, limits, nil
		}
	}
	return "", limits, fmt.Errorf("--plan %s: it is NAME=MS,N, such as free=10,5", text)
}
