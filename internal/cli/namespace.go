package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

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
		namespaceSetCmd(r),
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

func namespaceSetCmd(r *remote) *cobra.Command {
	var cpu, subrequests int64
	var memory int
	var jitless bool
	cmd := &cobra.Command{
		Use: "set NAME", Short: "Set the limits of a dispatch namespace, and how its Workers run", Args: cobra.ExactArgs(1),
		Long: "Sets what holds for every Worker of a dispatch namespace; what no flag names stays as it is. CPU time and subrequests\n" +
			"are bounds of one invocation: of these, the script's own and those that the dispatch Worker gives, the lowest counts.\n" +
			"The memory is that of one process of a Worker, instead of the node's. A change counts from the next request on.",
		Example: "  atoll namespace set free-plan --cpu-ms 10 --subrequests 50\n  atoll namespace set free-plan --cpu-ms 0 --jitless",
	}
	f := cmd.Flags()
	f.Int64Var(&cpu, "cpu-ms", 0, "`MS` of CPU time of one invocation, 1 to 300000; 0 sets no bound")
	f.Int64Var(&subrequests, "subrequests", 0, "`COUNT` of subrequests of one invocation, 1 to 10000000; 0 sets no bound")
	f.IntVar(&memory, "memory-mb", 0, "`MIB` of memory of a process, 16 to 2048; 0 means the node's")
	f.BoolVar(&jitless, "jitless", false, "run JavaScript without machine code made at run time: safer and slower, no WebAssembly")
	cmd.RunE = func(c *cobra.Command, args []string) error {
		limits := wire.LimitsChange{CPUMs: given(f.Changed("cpu-ms"), cpu), SubRequests: given(f.Changed("subrequests"), subrequests),
			MemoryMB: given(f.Changed("memory-mb"), memory)}
		change := wire.NamespaceChange{}
		if limits != (wire.LimitsChange{}) {
			change.Limits = wire.Some(&limits)
		}
		if f.Changed("jitless") {
			change.Jitless = wire.Some(&jitless)
		}
		if change == (wire.NamespaceChange{}) {
			return usage(c, errors.New("nothing to set: give at least one flag"))
		}
		return r.onNamespace(func(ctx context.Context, c *client.Client, name atoll.NamespaceName, _ []string) error {
			ns, err := c.ChangeNamespace(ctx, name, change)
			if err != nil {
				return err
			}
			return r.done(ns, "Workers of %s from now on: %s", ns.NamespaceName, cmp.Or(settingsOf(ns), "no limits of their own"))
		})(c, args)
	}
	return cmd
}

// given is a flag's number as a field of a change: 0 unsets the field, and a flag that was not given leaves it.
func given[T int | int64](changed bool, n T) wire.Optional[T] {
	switch {
	case !changed:
		return wire.Optional[T]{}
	case n == 0:
		return wire.Some[T](nil)
	}
	return wire.Some(&n)
}

// settingsOf tells what is set for a namespace in one line, empty where nothing is.
func settingsOf(ns wire.Namespace) string {
	var list []string
	if n := ns.Limits.CPUMs; n != 0 {
		list = append(list, fmt.Sprintf("%d ms of CPU time", n))
	}
	if n := ns.Limits.SubRequests; n != 0 {
		list = append(list, fmt.Sprintf("%d subrequests", n))
	}
	if n := ns.Limits.MemoryMB; n != 0 {
		list = append(list, fmt.Sprintf("%d MiB of memory", n))
	}
	if ns.Jitless {
		list = append(list, "no JIT")
	}
	return strings.Join(list, ", ")
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
		"Trusted", yes(ns.TrustedWorkers), "Limits", settingsOf(ns), "Created", when(ns.CreatedOn), "Modified", when(ns.ModifiedOn))
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
