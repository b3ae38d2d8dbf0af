package cli

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/client"
	"atoll.dev/atoll/internal/wire"
)

func tokenCmd(r *remote) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "API tokens",
		Long: "API tokens are what wrangler, SDKs and these commands show to the REST API. A token may read, or read and write, in\n" +
			"the whole account or in one dispatch namespace. The node keeps only hashes: a token is shown once, when it is made.",
	}
	cmd.AddCommand(
		tokenCreateCmd(r),
		&cobra.Command{
			Use: "list", Short: "List the API tokens", Args: cobra.NoArgs,
			RunE: r.run(r.listTokens),
		},
		&cobra.Command{
			Use: "delete ID", Short: "Delete an API token", Args: cobra.ExactArgs(1),
			Long: "Deletes the API token of this id. Calls with it are refused from then on.",
			RunE: r.run(func(ctx context.Context, c *client.Client, args []string) error {
				if err := c.DeleteToken(ctx, args[0]); err != nil {
					return err
				}
				return r.done(nil, "Deleted token %s", args[0])
			}),
		},
	)
	return cmd
}

// tokenFlags are the flags of `token create`.
type tokenFlags struct {
	readOnly  bool
	namespace string
	expires   string
}

func tokenCreateCmd(r *remote) *cobra.Command {
	var f tokenFlags
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Make an API token and print it", Args: cobra.ExactArgs(1),
		Long: "Makes an API token and prints it, alone on a line: the only time that it can be seen. NAME is for people.",
		Example: "  atoll token create ci --namespace staging\n" +
			"  export CLOUDFLARE_API_TOKEN=$(atoll token create laptop --expires 720h)",
		RunE: r.run(func(ctx context.Context, c *client.Client, args []string) error {
			req, err := f.request(ctx, c, args[0], time.Now())
			if err != nil {
				return err
			}
			t, err := c.CreateToken(ctx, req)
			if err != nil {
				return err
			}
			return r.done(t, "%s", t.Value)
		}),
	}
	cmd.Flags().BoolVar(&f.readOnly, "read-only", false, "let it read and nothing else")
	cmd.Flags().StringVar(&f.namespace, "namespace", "", "let it into this dispatch namespace and nowhere else: `NAME`")
	cmd.Flags().StringVar(&f.expires, "expires", "", "end it after a `TIME` such as 720h, or on a date such as 2027-01-31 (default: never)")
	return cmd
}

// request says in the API's words what the flags ask for.
func (f tokenFlags) request(ctx context.Context, c *client.Client, name string, now time.Time) (wire.TokenRequest, error) {
	group := wire.PermissionGroup{ID: wire.GroupWriteID, Name: wire.GroupWrite}
	if f.readOnly {
		group = wire.PermissionGroup{ID: wire.GroupReadID, Name: wire.GroupRead}
	}
	req := wire.TokenRequest{Name: name, Policies: []wire.TokenPolicy{{
		Effect: "allow", PermissionGroups: []wire.PermissionGroup{group}, Resources: map[string]string{}}}}
	if f.expires != "" {
		end, err := expiry(f.expires, now)
		if err != nil {
			return req, hint(&usageError{err}, "give --expires as 720h or 2027-01-31")
		}
		req.ExpiresOn = wire.Time{Time: end}
	}
	if f.namespace != "" {
		ns, err := atoll.ParseNamespaceName(f.namespace)
		if err != nil {
			return req, err
		}
		req.Policies[0].Resources[wire.ResourceNamespace+string(ns)] = "*"
		return req, nil
	}
	account, err := c.Account(ctx)
	if err != nil {
		return req, err
	}
	req.Policies[0].Resources[wire.ResourceAccount+string(account)] = "*"
	return req, nil
}

// expiry reads a duration from now, or a date, whose day is the first on which the token is no longer valid (UTC).
func expiry(s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil {
		if d <= 0 {
			return time.Time{}, errors.New("a token cannot end before it begins")
		}
		return now.Add(d).UTC().Truncate(time.Second), nil
	}
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return time.Time{}, errors.New("cannot read the time " + s)
	}
	if t.Before(now) {
		return time.Time{}, errors.New(s + " is in the past")
	}
	return t, nil
}

func (r *remote) listTokens(ctx context.Context, c *client.Client, _ []string) error {
	list, err := c.Tokens(ctx)
	if err != nil {
		return err
	}
	if r.json {
		return printJSON(r.std.Out, list)
	}
	t := table{head: []string{"ID", "NAME", "MAY", "WHERE", "STATUS", "CREATED", "EXPIRES"}}
	for _, tok := range list {
		may, where := tokenScope(tok)
		ends := "never"
		if !tok.ExpiresOn.IsZero() {
			ends = when(tok.ExpiresOn)
		}
		t.add(tok.ID, tok.Name, may, where, tok.Status, when(tok.IssuedOn), ends)
	}
	return t.write(r.std.Out, "No tokens but the node's first, which is in its data directory.")
}

// tokenScope says in two words what a token may do.
func tokenScope(t wire.Token) (may, where string) {
	var mays, wheres []string
	for _, p := range t.Policies {
		for _, g := range p.PermissionGroups {
			mays = append(mays, strings.ToLower(g.Name))
		}
		for res := range p.Resources {
			if ns, ok := strings.CutPrefix(res, wire.ResourceNamespace); ok {
				wheres = append(wheres, "namespace "+ns)
			} else {
				wheres = append(wheres, "account")
			}
		}
	}
	return strings.Join(mays, ", "), strings.Join(wheres, ", ")
}
