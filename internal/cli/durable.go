package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/internal/client"
	"atoll.dev/atoll/internal/wire"
)

func durableCmd(r *remote) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "durable-object",
		Short: "Durable Objects and their classes",
		Long: "Durable Objects come and go with the scripts that have their classes: migrations of an upload make, rename and delete them.\n" +
			"A class's objects are a namespace; NAMESPACE is its id, or its name where no other has it.",
	}
	namespace := &cobra.Command{Use: "namespace", Short: "Classes of Durable Objects"}
	namespace.AddCommand(&cobra.Command{
		Use: "list", Short: "List the classes of Durable Objects", Args: cobra.NoArgs,
		RunE: r.run(r.listDurableNamespaces),
	})
	object := &cobra.Command{Use: "object", Short: "Objects of a class"}
	object.AddCommand(&cobra.Command{
		Use: "list NAMESPACE", Short: "List the ids of the objects that have stored something", Args: cobra.ExactArgs(1),
		Example: "  atoll durable-object object list counters_Counter",
		RunE:    r.run(r.listDurableObjects),
	})
	cmd.AddCommand(namespace, object)
	return cmd
}

func (r *remote) listDurableNamespaces(ctx context.Context, c *client.Client, _ []string) error {
	list, err := c.DurableObjectNamespaces(ctx)
	if err != nil {
		return err
	}
	if r.json {
		return printJSON(r.std.Out, list)
	}
	t := table{head: []string{"NAME", "CLASS", "SCRIPT", "NAMESPACE", "STORAGE", "ID"}}
	for _, ns := range list {
		storage := "key-value"
		if ns.UseSQLite {
			storage = "SQLite"
		}
		t.add(ns.Name, ns.Class, ns.Script, ns.DispatchNamespace, storage, ns.ID)
	}
	return t.write(r.std.Out, "No Durable Objects.")
}

func (r *remote) listDurableObjects(ctx context.Context, c *client.Client, args []string) error {
	ns, err := durableNamespace(ctx, c, args[0])
	if err != nil {
		return err
	}
	list := []wire.DurableObject{}
	for o, err := range c.DurableObjects(ctx, ns.ID) {
		if err != nil {
			return err
		}
		list = append(list, o)
	}
	if r.json {
		return printJSON(r.std.Out, list)
	}
	t := table{head: []string{"ID"}}
	for _, o := range list {
		t.add(o.ID)
	}
	return t.write(r.std.Out, "No objects that have stored something.")
}

// durableNamespace finds a class by its id or name. Scripts of the same name in two dispatch namespaces have classes of the
// same name; then only an id says which is meant.
func durableNamespace(ctx context.Context, c *client.Client, what string) (wire.DurableObjectNamespace, error) {
	list, err := c.DurableObjectNamespaces(ctx)
	if err != nil {
		return wire.DurableObjectNamespace{}, err
	}
	var named []wire.DurableObjectNamespace
	for _, ns := range list {
		if ns.ID == what {
			return ns, nil
		}
		if ns.Name == what {
			named = append(named, ns)
		}
	}
	const show = "'atoll durable-object namespace list' shows them with their ids"
	switch len(named) {
	case 0:
		return wire.DurableObjectNamespace{}, hint(fmt.Errorf("there is no class of Durable Objects %s", what), show)
	case 1:
		return named[0], nil
	}
	return wire.DurableObjectNamespace{}, hint(fmt.Errorf("%d classes have the name %s: give an id", len(named), what), show)
}
