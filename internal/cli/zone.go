package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/internal/client"
	"atoll.dev/atoll/internal/wire"
)

func zoneCmd(r *remote) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "zone",
		Short: "Zones, the domains that routes belong to",
		Long:  "A zone is a domain whose requests this node answers. 'atoll serve --zone' makes the first one.",
	}
	cmd.AddCommand(
		&cobra.Command{
			Use: "list", Short: "List the zones", Args: cobra.NoArgs,
			RunE: r.run(r.listZones),
		},
		&cobra.Command{
			Use: "create NAME", Short: "Make a zone", Args: cobra.ExactArgs(1),
			Example: "  atoll zone create platform.example",
			RunE: r.run(func(ctx context.Context, c *client.Client, args []string) error {
				z, err := c.CreateZone(ctx, args[0])
				if err != nil {
					return err
				}
				return r.done(z, "Made zone %s (%s)", z.Name, z.ID)
			}),
		},
	)
	return cmd
}

func (r *remote) listZones(ctx context.Context, c *client.Client, _ []string) error {
	list, err := c.Zones(ctx, "")
	if err != nil {
		return err
	}
	if r.json {
		return printJSON(r.std.Out, list)
	}
	t := table{head: []string{"NAME", "STATUS", "CREATED", "ID"}}
	for _, z := range list {
		t.add(z.Name, z.Status, when(z.CreatedOn), z.ID)
	}
	return t.write(r.std.Out, "No zones. Make one with 'atoll zone create NAME'.")
}

// zoneOf returns the zone that was named, else the one that the pattern's host lies in, else the only one.
func zoneOf(ctx context.Context, c *client.Client, name, pattern string) (wire.Zone, error) {
	zones, err := c.Zones(ctx, name)
	if err != nil {
		return wire.Zone{}, err
	}
	var best wire.Zone
	host, _, _ := strings.Cut(pattern, "/")
	for _, z := range zones {
		inside := host == z.Name || strings.HasSuffix(host, "."+z.Name)
		if (z.Name == name || inside && name == "") && len(z.Name) > len(best.Name) {
			best = z
		}
	}
	switch {
	case best.ID != "":
		return best, nil
	case name != "":
		return best, hint(fmt.Errorf("there is no zone %s", name), "'atoll zone list' shows the zones, 'atoll zone create' makes one")
	case len(zones) == 1:
		return zones[0], nil
	}
	return best, hint(errors.New("it is not clear which zone is meant"), "name one of 'atoll zone list' with --zone")
}
