package cli

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/client"
	"atoll.dev/atoll/internal/wire"
)

func namespaceCmd(r *remote) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "namespace",
		Short: "Dispatch namespaces, which hold customers' Workers",
		Long: "A dispatch namespace holds the Workers of a platform's customers. One for each environment is usual: production,\n" +
			"staging. A Worker in it is reached through a dispatch Worker only.",
	}
	cmd.AddCommand(
		namespaceCreateCmd(r),
		&cobra.Command{
			Use: "list", Short: "List the dispatch namespaces", Args: cobra.NoArgs,
			RunE: r.run(r.listNamespaces),
		},
		&cobra.Command{
			Use: "get NAME", Short: "Show a dispatch namespace", Args: cobra.ExactArgs(1),
			RunE: r.onNamespace(r.getNamespace),
		},
		&cobra.Command{
			Use: "rename OLD NEW", Short: "Rename a dispatch namespace", Args: cobra.ExactArgs(2),
			Long: "Renames a dispatch namespace. Dispatch Workers bound to the old name need the new one at their next deploy.",
			RunE: r.onNamespace(r.renameNamespace),
		},
		trustCmd(r),
		&cobra.Command{
			Use: "delete NAME", Short: "Delete a dispatch namespace with all Workers in it", Args: cobra.ExactArgs(1),
			RunE: r.onNamespace(r.deleteNamespace),
		},
	)
	return cmd
}

func namespaceCreateCmd(r *remote) *cobra.Command {
	var trusted bool
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Make a dispatch namespace", Args: cobra.ExactArgs(1),
		Example: "  atoll namespace create production",
		RunE: r.onNamespace(func(ctx context.Context, c *client.Client, name atoll.NamespaceName, _ []string) error {
			ns, err := c.CreateNamespace(ctx, name, trusted)
			if err != nil {
				return err
			}
			return r.done(ns, "Made dispatch namespace %s (%s)", ns.NamespaceName, ns.NamespaceID)
		}),
	}
	cmd.Flags().BoolVar(&trusted, "trusted", false, "trust its Workers, see 'atoll namespace trust'")
	return cmd
}

func trustCmd(r *remote) *cobra.Command {
	var off bool
	cmd := &cobra.Command{
		Use: "trust NAME", Short: "Trust the Workers of a dispatch namespace, or no longer", Args: cobra.ExactArgs(1),
		Long: "Makes a dispatch namespace trusted: its Workers see request.cf and caches.default. That suits a namespace which holds\n" +
			"only code of your own. A Worker sees the change at its next deploy.",
		RunE: r.onNamespace(func(ctx context.Context, c *client.Client, name atoll.NamespaceName, _ []string) error {
			trusted := !off
			ns, err := c.ChangeNamespace(ctx, name, wire.NamespaceChange{TrustedWorkers: &trusted})
			if err != nil {
				return err
			}
			return r.done(ns, "Workers deployed to %s from now on are trusted: %s", ns.NamespaceName, yes(ns.TrustedWorkers))
		}),
	}
	cmd.Flags().BoolVar(&off, "off", false, "trust them no longer")
	return cmd
}

// onNamespace is run for commands whose first argument names a dispatch namespace.
func (r *remote) onNamespace(f func(ctx context.Context, c *client.Client, name atoll.NamespaceName, args []string) error) func(*cobra.Command, []string) error {
	return r.run(func(ctx context.Context, c *client.Client, args []string) error {
		name, err := atoll.ParseNamespaceName(args[0])
		if err != nil {
			return err
		}
		return f(ctx, c, name, args)
	})
}

func (r *remote) listNamespaces(ctx context.Context, c *client.Client, _ []string) error {
	list, err := c.Namespaces(ctx)
	if err != nil {
		return err
	}
	if r.json {
		return printJSON(r.std.Out, list)
	}
	t := table{head: []string{"NAME", "SCRIPTS", "TRUSTED", "CREATED", "ID"}}
	for _, ns := range list {
		t.add(ns.NamespaceName, strconv.FormatInt(ns.ScriptCount, 10), yes(ns.TrustedWorkers), when(ns.CreatedOn), ns.NamespaceID)
	}
	return t.write(r.std.Out, "No dispatch namespaces. Make one with 'atoll namespace create NAME'.")
}

func (r *remote) getNamespace(ctx context.Context, c *client.Client, name atoll.NamespaceName, _ []string) error {
	ns, err := c.Namespace(ctx, name)
	if err != nil {
		return err
	}
	if r.json {
		return printJSON(r.std.Out, ns)
	}
	return fields(r.std.Out, "Name", ns.NamespaceName, "ID", ns.NamespaceID, "Scripts", strconv.FormatInt(ns.ScriptCount, 10),
		"Trusted", yes(ns.TrustedWorkers), "Created", when(ns.CreatedOn), "Modified", when(ns.ModifiedOn))
}

func (r *remote) renameNamespace(ctx context.Context, c *client.Client, name atoll.NamespaceName, args []string) error {
	to, err := atoll.ParseNamespaceName(args[1])
	if err != nil {
		return err
	}
	s := string(to)
	ns, err := c.ChangeNamespace(ctx, name, wire.NamespaceChange{Name: &s})
	if err != nil {
		return err
	}
	return r.done(ns, "Renamed dispatch namespace %s to %s", name, ns.NamespaceName)
}

func (r *remote) deleteNamespace(ctx context.Context, c *client.Client, name atoll.NamespaceName, _ []string) error {
	if err := c.DeleteNamespace(ctx, name); err != nil {
		return err
	}
	return r.done(nil, "Deleted dispatch namespace %s", name)
}
