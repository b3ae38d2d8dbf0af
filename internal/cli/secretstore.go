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

func secretStoreCmd(r *remote) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "secrets-store",
		Short: "Secrets that many Workers share",
		Long: "A secrets store keeps secrets of the account, which Workers reach through bindings, each to one secret. No command prints a\n" +
			"value. STORE is a name or an id, SECRET a name.",
	}
	store := &cobra.Command{Use: "store", Short: "Secrets stores"}
	store.AddCommand(
		&cobra.Command{
			Use: "create NAME", Short: "Make a secrets store", Args: cobra.ExactArgs(1),
			RunE: r.run(func(ctx context.Context, c *client.Client, args []string) error {
				st, err := c.CreateSecretStore(ctx, args[0])
				if err != nil {
					return err
				}
				return r.done(st, "Made secrets store %s (%s)", st.Name, st.ID)
			}),
		},
		&cobra.Command{Use: "list", Short: "List the secrets stores", Args: cobra.NoArgs, RunE: r.run(r.listSecretStores)},
		&cobra.Command{
			Use: "delete STORE", Short: "Delete a secrets store, which must be empty", Args: cobra.ExactArgs(1),
			RunE: r.onSecretStore(func(ctx context.Context, c *client.Client, st wire.SecretStore, _ []string) error {
				if err := c.DeleteSecretStore(ctx, st.ID); err != nil {
					return err
				}
				return r.done(nil, "Deleted secrets store %s", st.Name)
			}),
		},
	)
	cmd.AddCommand(store, storedSecretCmd(r))
	return cmd
}

func (r *remote) listSecretStores(ctx context.Context, c *client.Client, _ []string) error {
	list, err := c.SecretStores(ctx)
	if err != nil {
		return err
	}
	if r.json {
		return printJSON(r.std.Out, list)
	}
	t := table{head: []string{"NAME", "MADE", "ID"}}
	for _, st := range list {
		t.add(st.Name, when(wire.Time{Time: st.Created}), st.ID)
	}
	return t.write(r.std.Out, "No secrets stores. Make one with 'atoll secrets-store store create NAME'.")
}

func storedSecretCmd(r *remote) *cobra.Command {
	cmd := &cobra.Command{Use: "secret", Short: "Secrets of a store"}
	cmd.AddCommand(storedSecretPutCmd(r),
		&cobra.Command{
			Use: "list STORE", Short: "List the secrets of a store, without their values", Args: cobra.ExactArgs(1),
			RunE: r.onSecretStore(r.listStoredSecrets),
		},
		&cobra.Command{
			Use: "delete STORE SECRET", Short: "Delete a secret; Workers that are bound to it have errors from then on", Args: cobra.ExactArgs(2),
			RunE: r.onSecretStore(func(ctx context.Context, c *client.Client, st wire.SecretStore, args []string) error {
				sec, err := storedSecret(ctx, c, st, args[1])
				if err != nil {
					return err
				}
				if sec == nil {
					return hint(fmt.Errorf("store %s has no secret %s", st.Name, args[1]), "'atoll secrets-store secret list %s' shows its secrets", st.Name)
				}
				if err := c.DeleteStoredSecret(ctx, st.ID, sec.ID); err != nil {
					return err
				}
				return r.done(nil, "Deleted secret %s of store %s", sec.Name, st.Name)
			}),
		},
	)
	return cmd
}

func storedSecretPutCmd(r *remote) *cobra.Command {
	var comment string
	cmd := &cobra.Command{
		Use: "put STORE SECRET", Short: "Set a secret, read from standard input", Args: cobra.ExactArgs(2),
		Long: "Adds a secret to a store, or gives the one of that name another value, which Workers read from then on. The value is read\n" +
			"from standard input, so that it is in no history; one newline at its end is left out.",
		Example: "  atoll secrets-store secret put keys signing-key <key.txt",
	}
	cmd.RunE = r.onSecretStore(func(ctx context.Context, c *client.Client, st wire.SecretStore, args []string) error {
		value, err := r.readSecret(cmd.CommandPath() + " STORE SECRET")
		if err != nil {
			return err
		}
		change := wire.StoredSecretChange{Value: &value}
		if cmd.Flags().Changed("comment") {
			change.Comment = &comment
		}
		sec, err := putStoredSecret(ctx, c, st, args[1], change)
		if err != nil {
			return err
		}
		return r.done(sec, "Store %s has secret %s", st.Name, sec.Name)
	})
	cmd.Flags().StringVar(&comment, "comment", "", "`TEXT` to show beside it")
	return cmd
}

// putStoredSecret changes the secret of that name, or adds it. Where somebody else adds it at the same time, the API says so.
func putStoredSecret(ctx context.Context, c *client.Client, st wire.SecretStore, name string, change wire.StoredSecretChange) (wire.StoredSecret, error) {
	old, err := storedSecret(ctx, c, st, name)
	if err != nil {
		return wire.StoredSecret{}, err
	}
	if old != nil {
		return c.UpdateStoredSecret(ctx, st.ID, old.ID, change)
	}
	change.Name, change.Scopes = name, []string{"workers"}
	list, err := c.CreateStoredSecrets(ctx, st.ID, []wire.StoredSecretChange{change})
	if err != nil {
		return wire.StoredSecret{}, err
	}
	if len(list) != 1 {
		return wire.StoredSecret{}, fmt.Errorf("the API made %d secrets of one", len(list))
	}
	return list[0], nil
}

func (r *remote) listStoredSecrets(ctx context.Context, c *client.Client, st wire.SecretStore, _ []string) error {
	list, err := c.StoredSecrets(ctx, st.ID)
	if err != nil {
		return err
	}
	if r.json {
		return printJSON(r.std.Out, list)
	}
	t := table{head: []string{"NAME", "SCOPES", "MODIFIED", "COMMENT"}}
	for _, sec := range list {
		t.add(sec.Name, strings.Join(sec.Scopes, " "), when(wire.Time{Time: sec.Modified}), short(sec.Comment))
	}
	return t.write(r.std.Out, "No secrets.")
}

// storedSecret finds a secret of a store by its name; nil says that there is none.
func storedSecret(ctx context.Context, c *client.Client, st wire.SecretStore, name string) (*wire.StoredSecret, error) {
	list, err := c.StoredSecrets(ctx, st.ID)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if list[i].Name == name {
			return &list[i], nil
		}
	}
	return nil, nil
}

// onSecretStore is run for commands whose first argument names a secrets store.
func (r *remote) onSecretStore(f func(ctx context.Context, c *client.Client, st wire.SecretStore, args []string) error) func(*cobra.Command, []string) error {
	return r.run(func(ctx context.Context, c *client.Client, args []string) error {
		st, err := secretStore(ctx, c, args[0])
		if err != nil {
			return err
		}
		return f(ctx, c, st, args)
	})
}

// secretStore finds a secrets store by its name or id. An id is found even where it is some other's name.
func secretStore(ctx context.Context, c *client.Client, what string) (wire.SecretStore, error) {
	list, err := c.SecretStores(ctx)
	if err != nil {
		return wire.SecretStore{}, err
	}
	for _, st := range list {
		if st.ID == what {
			return st, nil
		}
	}
	for _, st := range list {
		if st.Name == what {
			return st, nil
		}
	}
	return wire.SecretStore{}, hint(fmt.Errorf("there is no secrets store %s", what),
		"'atoll secrets-store store list' shows the stores, 'atoll secrets-store store create' makes one")
}

// storedSecretBinding is the binding of STORE/SECRET.
func storedSecretBinding(ctx context.Context, c *client.Client, value string) (map[string]any, error) {
	store, name, ok := strings.Cut(value, "/")
	if !ok || store == "" || name == "" {
		return nil, hint(&usageError{errors.New("it does not name a secret of a store")}, "such as --stored-secret NAME=STORE/SECRET")
	}
	st, err := secretStore(ctx, c, store)
	return map[string]any{"type": "secrets_store_secret", "store_id": st.ID, "secret_name": name}, err
}
