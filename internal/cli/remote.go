package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/client"
)

// remote is what all commands that talk to a node share: the flags that say which node, and how results are printed.
type remote struct {
	std     Std
	api     string
	token   string
	account string
	data    string
	json    bool
}

// remoteFlags are the flags of remote that have an environment variable.
var remoteFlags = []string{"api", "token", "account", "data"}

// group adds the shared flags to a noun's command.
func (r *remote) group(cmd *cobra.Command) *cobra.Command {
	f := cmd.PersistentFlags()
	f.StringVar(&r.api, "api", "http://127.0.0.1:8081", "`URL` of the node's REST API")
	f.StringVar(&r.token, "token", "", "API `TOKEN` (default: $ATOLL_API_TOKEN, else the file api-token in the node's data directory)")
	f.StringVar(&r.account, "account", "", "`ID` of the account (default: the only one that the token sees)")
	f.StringVar(&r.data, "data", defaultData, "`DIR` of the node's data, where its first token is")
	jsonFlag(f, &r.json)
	return cmd
}

func jsonFlag(f *pflag.FlagSet, v *bool) { f.BoolVar(v, "json", false, "print JSON") }

// client returns the client that the command's flags and environment ask for.
func (r *remote) client(cmd *cobra.Command) (*client.Client, error) {
	if err := fromEnv(cmd, r.std, remoteFlags...); err != nil {
		return nil, err
	}
	token, err := r.findToken()
	if err != nil {
		return nil, err
	}
	opts := client.Options{}
	if r.account != "" {
		if opts.Account, err = atoll.ParseAccountID(r.account); err != nil {
			return nil, hint(fmt.Errorf("%q is not an account's id", r.account), "an account's id is 32 hexadecimal digits; 'atoll serve' prints it when it is ready")
		}
	}
	c, err := client.New(r.api, token, opts)
	if err != nil {
		return nil, hint(err, "give --api as 'atoll serve' prints it: api=http://127.0.0.1:8081")
	}
	return c, nil
}

// findToken takes the token from the flag or its variable, else from the variable of `atoll serve --api-token`, else
// from the file that the node has put it in.
func (r *remote) findToken() (string, error) {
	if r.token != "" {
		return r.token, nil
	}
	if t := r.std.Getenv(envName("api-token")); t != "" {
		return t, nil
	}
	file := filepath.Join(r.data, "api-token")
	b, err := os.ReadFile(file)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "", hint(errors.New("no API token: --token and ATOLL_TOKEN are empty, and there is no "+file),
			"run this where 'atoll serve' runs, or name the node's directory with --data, or give a token with --token")
	case err != nil:
		return "", hint(fmt.Errorf("read the API token: %w", err), "run this as the user that runs 'atoll serve', or give a token with --token")
	}
	return strings.TrimSpace(string(b)), nil
}

// run makes a cobra function of one that needs a client.
func (r *remote) run(f func(ctx context.Context, c *client.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := r.client(cmd)
		if err != nil {
			return err
		}
		return f(cmd.Context(), c, args)
	}
}

// done says on stdout what a change has done, or prints the API's answer as JSON.
func (r *remote) done(answer any, format string, args ...any) error {
	if r.json {
		return printJSON(r.std.Out, answer)
	}
	_, err := fmt.Fprintln(r.std.Out, plain(fmt.Sprintf(format, args...)))
	return err
}
