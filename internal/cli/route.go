package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/client"
	"atoll.dev/atoll/internal/wire"
)

// routes is what the route commands share.
type routes struct {
	*remote
	zone   string
	router routerFlags
}

func routeCmd(r *remote) *cobra.Command {
	s := &routes{remote: r}
	cmd := &cobra.Command{
		Use:   "route",
		Short: "Routes from hosts and paths to the account's scripts",
		Long: "A route sends the requests whose host and path match its pattern to a script of the account: '*/*' matches all,\n" +
			"'*.platform.example/*' every subdomain, 'platform.example/api/*' one path. The most specific pattern wins.",
	}
	cmd.PersistentFlags().StringVar(&s.zone, "zone", "", "`NAME` of the zone (default: the one that the pattern lies in, or the only one)")
	cmd.AddCommand(
		s.addCmd(),
		&cobra.Command{
			Use: "list", Short: "List the routes", Args: cobra.NoArgs,
			RunE: r.run(s.list),
		},
		&cobra.Command{
			Use: "delete PATTERN", Short: "Delete a route, named by its pattern or its id", Args: cobra.ExactArgs(1),
			RunE: r.run(s.delete),
		},
	)
	return cmd
}

func (s *routes) addCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "add PATTERN [SCRIPT]", Short: "Send the requests of a pattern to a script or a router", Args: cobra.RangeArgs(1, 2),
		Long: "Makes a route, or changes the one that has this pattern. Without SCRIPT the pattern opts out: its requests reach no\n" +
			"Worker, even where a wider pattern matches.\n\n" +
			"With --router the requests are dispatched to the scripts of a namespace without a dispatch Worker: by the first label\n" +
			"of the host, by the first segment of the path, or by a KV record under the host's name. docs/router.md tells more.",
		Example: "  atoll route add '*.atoll.localhost/*' dispatcher\n  atoll route add 'status.atoll.localhost/*'\n" +
			"  atoll route add '*.atoll.localhost/*' --router subdomain --namespace production --cpu-ms 50\n" +
			"  atoll route add '*/*' --router kv --namespace production --kv hostnames --plan free=10,5 --plan pro=50,50",
		RunE: s.run(s.add),
	}
	f := cmd.Flags()
	f.StringVar(&s.router.kind, "router", "", "`KIND` of built-in router: subdomain, path or kv")
	f.StringVar(&s.router.namespace, "namespace", "", "dispatch `NAMESPACE` that the router dispatches to")
	f.StringVar(&s.router.kv, "kv", "", "KV `NAMESPACE` of the router's records, by title or id")
	f.Int64Var(&s.router.limits.CPUMs, "cpu-ms", 0, "CPU time of a dispatch in `MS`, where no record sets another")
	f.Int64Var(&s.router.limits.SubRequests, "subrequests", 0, "subrequests of a dispatch: `N`, likewise")
	f.StringArrayVar(&s.router.plans, "plan", nil, "`NAME=MS,N`: CPU time and subrequests of a plan that records name; repeat it for several")
	f.StringVar(&s.router.outbound, "outbound", "", "`SCRIPT` of the account that the subrequests of the dispatched go to")
	f.StringSliceVar(&s.router.parameters, "outbound-parameter", nil, "`NAME` of a parameter that records set for it")
	return cmd
}

func (s *routes) add(ctx context.Context, c *client.Client, args []string) error {
	route := wire.Route{Pattern: args[0]}
	to := "no Worker"
	router, err := s.router.read(ctx, c)
	if err != nil {
		return err
	}
	switch {
	case router != nil && len(args) == 2:
		return errors.New("a route leads to a script or to a router, not to both")
	case router != nil:
		route.Router, to = router, "the Workers of "+router.Namespace+" by "+router.Kind
	case len(args) == 2:
		name, err := atoll.ParseScriptName(args[1])
		if err != nil {
			return err
		}
		route.Script, to = string(name), string(name)
	}
	zone, err := zoneOf(ctx, c, s.zone, route.Pattern)
	if err != nil {
		return err
	}
	old, err := findRoute(ctx, c, zone, route.Pattern)
	if err != nil {
		return err
	}
	if route.ID = old.ID; route.ID != "" {
		route, err = c.ChangeRoute(ctx, zone.ID, route)
	} else {
		route, err = c.CreateRoute(ctx, zone.ID, route)
	}
	if err != nil {
		return err
	}
	return s.done(route, "%s leads to %s", route.Pattern, to)
}

// listed is a route with the name of its zone.
type listed struct {
	wire.Route
	Zone string `json:"zone_name"`
}

func (s *routes) list(ctx context.Context, c *client.Client, _ []string) error {
	zones, err := c.Zones(ctx, s.zone)
	if err != nil {
		return err
	}
	all := []listed{}
	for _, z := range zones {
		list, err := c.Routes(ctx, z.ID)
		if err != nil {
			return fmt.Errorf("list the routes of %s: %w", z.Name, err)
		}
		for _, route := range list {
			all = append(all, listed{route, z.Name})
		}
	}
	if s.json {
		return printJSON(s.std.Out, all)
	}
	t := table{head: []string{"PATTERN", "SCRIPT", "ZONE", "ID"}}
	for _, route := range all {
		script := route.Script
		switch {
		case route.Router != nil:
			script = "(" + route.Router.Namespace + " by " + route.Router.Kind + ")"
		case script == "":
			script = "(none)"
		}
		t.add(route.Pattern, script, route.Zone, route.ID)
	}
	return t.write(s.std.Out, "No routes. Make one with 'atoll route add PATTERN SCRIPT'.")
}

func (s *routes) delete(ctx context.Context, c *client.Client, args []string) error {
	zones, err := c.Zones(ctx, s.zone)
	if err != nil {
		return err
	}
	for _, z := range zones {
		route, err := findRoute(ctx, c, z, args[0])
		if err != nil {
			return err
		}
		if route.ID == "" {
			continue
		}
		if err := c.DeleteRoute(ctx, z.ID, route.ID); err != nil {
			return err
		}
		return s.done(route, "Deleted route %s", route.Pattern)
	}
	return hint(errors.New("there is no route "+args[0]), "'atoll route list' shows the routes")
}

// findRoute returns the zone's route that has this pattern or id, or none.
func findRoute(ctx context.Context, c *client.Client, zone wire.Zone, what string) (wire.Route, error) {
	list, err := c.Routes(ctx, zone.ID)
	if err != nil {
		return wire.Route{}, err
	}
	for _, route := range list {
		if route.Pattern == what || route.ID == what {
			return route, nil
		}
	}
	return wire.Route{}, nil
}
