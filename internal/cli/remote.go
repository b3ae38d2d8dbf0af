package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/client"
	"atoll.dev/atoll/internal/fault"
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

// adviceFor is what to do about an error, "" where it says enough itself.
func adviceFor(err error) string {
	var gone *client.Unreachable
	var other *client.Foreign
	switch {
	case errors.Is(err, context.Canceled):
		return ""
	case errors.Is(err, syscall.EADDRINUSE):
		return "another program listens there, perhaps another node: choose addresses with --edge and --api"
	case errors.As(err, &gone):
		return "is the node running? Start it with 'atoll serve', or say where it is with --api or ATOLL_API"
	case errors.As(err, &other):
		return "give --api the REST API's address, not the edge's: 'atoll serve' prints both"
	}
	f := fault.Of(err)
	if f == nil {
		return ""
	}
	switch f.Code {
	case 100119:
		return "'atoll namespace list' shows the dispatch namespaces, 'atoll namespace create NAME' makes one"
	case 10092:
		return "'atoll script list --namespace NAME' shows the user Workers of a namespace"
	case 10007, 10090:
		return "'atoll script list' shows the account's Workers; a user Worker needs --namespace NAME"
	case 10021:
		return "nothing was deployed; the version before, if there is one, keeps serving"
	case 10013:
		return "'atoll kv namespace list' shows the KV namespaces"
	}
	switch f.Kind {
	case fault.Unauthenticated:
		return "the node does not know this token: look into api-token in its data directory, or make one with 'atoll token create'"
	case fault.Forbidden:
		return "the token may not do this: 'atoll token create NAME' with the node's first token makes one that may"
	}
	return ""
}
