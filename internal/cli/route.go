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
	zone string
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
		&cobra.Command{
			Use: "add PATTERN [SCRIPT]", Short: "Send the requests of a pattern to a script", Args: cobra.RangeArgs(1, 2),
			Long: "Makes a route, or changes the one that has this pattern. Without SCRIPT the pattern opts out: its requests reach no\n" +
				"Worker, even where a wider pattern matches.",
			Example: "  atoll route add '*.atoll.localhost/*' dispatcher\n  atoll route add 'status.atoll.localhost/*'",
			RunE:    r.run(s.add),
		},
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

func (s *routes) add(ctx context.Context, c *client.Client, args []string) error {
	route := wire.Route{Pattern: args[0]}
	to := "no Worker"
	if len(args) == 2 {
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
		if script == "" {
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
