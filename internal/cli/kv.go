package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/internal/client"
	"atoll.dev/atoll/internal/wire"
)

func kvCmd(r *remote) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "kv",
		Short: "The key-value store",
		Long:  "KV keeps values by key in namespaces of its own, which Workers reach through bindings. NAMESPACE is a title or an id.",
	}
	cmd.AddCommand(kvNamespaceCmd(r), kvKeyCmd(r))
	return cmd
}

func kvNamespaceCmd(r *remote) *cobra.Command {
	cmd := &cobra.Command{Use: "namespace", Short: "KV namespaces"}
	cmd.AddCommand(
		&cobra.Command{
			Use: "create TITLE", Short: "Make a KV namespace", Args: cobra.ExactArgs(1),
			RunE: r.run(func(ctx context.Context, c *client.Client, args []string) error {
				ns, err := c.CreateKVNamespace(ctx, args[0])
				if err != nil {
					return err
				}
				return r.done(ns, "Made KV namespace %s (%s)", ns.Title, ns.ID)
			}),
		},
		&cobra.Command{
			Use: "list", Short: "List the KV namespaces", Args: cobra.NoArgs,
			RunE: r.run(r.listKV),
		},
		&cobra.Command{
			Use: "get NAMESPACE", Short: "Show a KV namespace", Args: cobra.ExactArgs(1),
			RunE: r.onKV(func(_ context.Context, _ *client.Client, ns wire.KVNamespace, _ []string) error {
				if r.json {
					return printJSON(r.std.Out, ns)
				}
				return fields(r.std.Out, "Title", ns.Title, "ID", ns.ID)
			}),
		},
		&cobra.Command{
			Use: "rename NAMESPACE TITLE", Short: "Give a KV namespace another title", Args: cobra.ExactArgs(2),
			RunE: r.onKV(func(ctx context.Context, c *client.Client, ns wire.KVNamespace, args []string) error {
				if err := c.RenameKVNamespace(ctx, ns.ID, args[1]); err != nil {
					return err
				}
				return r.done(nil, "Renamed KV namespace %s to %s", ns.Title, args[1])
			}),
		},
		&cobra.Command{
			Use: "delete NAMESPACE", Short: "Delete a KV namespace with its values", Args: cobra.ExactArgs(1),
			RunE: r.onKV(func(ctx context.Context, c *client.Client, ns wire.KVNamespace, _ []string) error {
				if err := c.DeleteKVNamespace(ctx, ns.ID); err != nil {
					return err
				}
				return r.done(nil, "Deleted KV namespace %s", ns.Title)
			}),
		},
	)
	return cmd
}

func (r *remote) listKV(ctx context.Context, c *client.Client, _ []string) error {
	list, err := c.KVNamespaces(ctx)
	if err != nil {
		return err
	}
	if r.json {
		return printJSON(r.std.Out, list)
	}
	t := table{head: []string{"TITLE", "ID"}}
	for _, ns := range list {
		t.add(ns.Title, ns.ID)
	}
	return t.write(r.std.Out, "No KV namespaces. Make one with 'atoll kv namespace create TITLE'.")
}

func kvKeyCmd(r *remote) *cobra.Command {
	var prefix string
	cmd := &cobra.Command{Use: "key", Short: "Keys and values of a KV namespace"}
	list := &cobra.Command{
		Use: "list NAMESPACE", Short: "List the keys", Args: cobra.ExactArgs(1),
		RunE: r.onKV(func(ctx context.Context, c *client.Client, ns wire.KVNamespace, _ []string) error {
			return r.listKeys(ctx, c, ns, prefix)
		}),
	}
	list.Flags().StringVar(&prefix, "prefix", "", "only keys that begin with this `TEXT`")
	cmd.AddCommand(list, kvPutCmd(r),
		&cobra.Command{
			Use: "get NAMESPACE KEY", Short: "Print the value of a key, as it is", Args: cobra.ExactArgs(2),
			RunE: r.onKV(func(ctx context.Context, c *client.Client, ns wire.KVNamespace, args []string) error {
				return c.KVGet(ctx, ns.ID, args[1], r.std.Out)
			}),
		},
		&cobra.Command{
			Use: "delete NAMESPACE KEY", Short: "Delete a key", Args: cobra.ExactArgs(2),
			RunE: r.onKV(func(ctx context.Context, c *client.Client, ns wire.KVNamespace, args []string) error {
				if err := c.KVDelete(ctx, ns.ID, args[1]); err != nil {
					return err
				}
				return r.done(nil, "Deleted key %s of %s", args[1], ns.Title)
			}),
		},
	)
	return cmd
}

func (r *remote) listKeys(ctx context.Context, c *client.Client, ns wire.KVNamespace, prefix string) error {
	keys := []wire.KVKey{}
	for k, err := range c.KVKeys(ctx, ns.ID, prefix) {
		if err != nil {
			return err
		}
		keys = append(keys, k)
	}
	if r.json {
		return printJSON(r.std.Out, keys)
	}
	t := table{head: []string{"KEY", "EXPIRES", "METADATA"}}
	for _, k := range keys {
		ends := ""
		if k.Expiration != 0 {
			ends = when(wire.Time{Time: time.Unix(k.Expiration, 0)})
		}
		t.add(k.Name, ends, short(string(k.Metadata)))
	}
	return t.write(r.std.Out, "No keys.")
}

// putFlags are the flags of `kv key put`.
type putFlags struct {
	file     string
	ttl      time.Duration
	metadata string
}

func kvPutCmd(r *remote) *cobra.Command {
	f := &putFlags{}
	cmd := &cobra.Command{
		Use: "put NAMESPACE KEY [VALUE]", Short: "Set the value of a key", Args: cobra.RangeArgs(2, 3),
		Long:    "Sets the value of a key to VALUE, or to the content of --file.",
		Example: "  atoll kv key put plans alice pro\n  atoll kv key put pages /index.html --file index.html --ttl 24h",
		RunE: r.onKV(func(ctx context.Context, c *client.Client, ns wire.KVNamespace, args []string) error {
			value, err := f.value(r.std.In, args[2:])
			if err != nil {
				return err
			}
			opts := client.KVOptions{TTL: f.ttl}
			if f.metadata != "" {
				opts.Metadata = json.RawMessage(f.metadata)
			}
			if err := c.KVPut(ctx, ns.ID, args[1], value, opts); err != nil {
				return err
			}
			return r.done(nil, "Set key %s of %s (%d bytes)", args[1], ns.Title, len(value))
		}),
	}
	cmd.Flags().StringVar(&f.file, "file", "", "take the value from this `FILE`; - is standard input")
	cmd.Flags().DurationVar(&f.ttl, "ttl", 0, "forget the key after this `TIME`, such as 24h; at least 60s")
	cmd.Flags().StringVar(&f.metadata, "metadata", "", "`JSON` to keep beside the value")
	return cmd
}

// value is the value of the command line, of a file or of standard input.
func (f *putFlags) value(stdin io.Reader, args []string) ([]byte, error) {
	switch {
	case len(args) == 1 && f.file == "":
		return []byte(args[0]), nil
	case len(args) == 0 && f.file == "-":
		return io.ReadAll(stdin)
	case len(args) == 0 && f.file != "":
		return os.ReadFile(f.file)
	}
	return nil, hint(&usageError{errors.New("give either VALUE or --file")}, "'atoll kv key put --help' shows how to use it")
}

// onKV is run for commands whose first argument names a KV namespace.
func (r *remote) onKV(f func(ctx context.Context, c *client.Client, ns wire.KVNamespace, args []string) error) func(*cobra.Command, []string) error {
	return r.run(func(ctx context.Context, c *client.Client, args []string) error {
		ns, err := kvNamespace(ctx, c, args[0])
		if err != nil {
			return err
		}
		return f(ctx, c, ns, args)
	})
}

var kvID = regexp.MustCompile(`^[0-9a-f]{32}$`)

// kvNamespace finds a KV namespace by its title or id. An id is found even where it is some other's title.
func kvNamespace(ctx context.Context, c *client.Client, what string) (wire.KVNamespace, error) {
	list, err := c.KVNamespaces(ctx)
	if err != nil {
		return wire.KVNamespace{}, err
	}
	if kvID.MatchString(strings.ToLower(what)) {
		for _, ns := range list {
			if strings.EqualFold(ns.ID, what) {
				return ns, nil
			}
		}
	}
	for _, ns := range list {
		if ns.Title == what {
			return ns, nil
		}
	}
	return wire.KVNamespace{}, hint(fmt.Errorf("there is no KV namespace %s", what),
		"'atoll kv namespace list' shows the KV namespaces, 'atoll kv namespace create' makes one")
}
