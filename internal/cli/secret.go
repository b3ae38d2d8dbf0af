package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/client"
)

func secretCmd(s *scripts) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "secret",
		Short: "Secrets of a script",
		Long: "Secrets are texts that a Worker sees in its env and that nobody else sees again: the node keeps them encrypted, and no\n" +
			"command prints them. Each change makes a new version of the script.",
	}
	cmd.AddCommand(
		&cobra.Command{
			Use: "put NAME SECRET", Short: "Give a script a secret, read from standard input", Args: cobra.ExactArgs(2),
			Long:    "Gives the script NAME a secret. Its value is read from standard input, so that it is in no history; one newline at\nits end is left out.",
			Example: "  atoll script secret put --namespace production bob API_KEY <key.txt",
			RunE:    s.onScript(s.putSecret),
		},
		&cobra.Command{
			Use: "list NAME", Short: "List the names of a script's secrets", Args: cobra.ExactArgs(1),
			RunE: s.onScript(s.listSecrets),
		},
		&cobra.Command{
			Use: "delete NAME SECRET", Short: "Take a secret from a script", Args: cobra.ExactArgs(2),
			RunE: s.onScript(func(ctx context.Context, c *client.Client, ref atoll.ScriptRef, args []string) error {
				if err := c.DeleteSecret(ctx, ref, args[1]); err != nil {
					return err
				}
				return s.done(nil, "Deleted secret %s of %s", args[1], ref)
			}),
		},
	)
	return cmd
}

// maxSecret is well above what the API takes, which then says what its own limit is.
const maxSecret = 1 << 20

func (s *scripts) putSecret(ctx context.Context, c *client.Client, ref atoll.ScriptRef, args []string) error {
	text, err := s.readSecret("atoll script secret put NAME SECRET")
	if err != nil {
		return err
	}
	sec, err := c.PutSecret(ctx, ref, args[1], text)
	if err != nil {
		return err
	}
	return s.done(sec, "%s has secret %s", ref, sec.Name)
}

// readSecret reads a value from standard input, without the newline at its end.
func (r *remote) readSecret(command string) (string, error) {
	b, err := io.ReadAll(io.LimitReader(r.std.In, maxSecret))
	if err != nil {
		return "", fmt.Errorf("read the secret: %w", err)
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	if text == "" {
		return "", hint(errors.New("the secret is empty"), "its value is read from standard input: printf %%s VALUE | %s", command)
	}
	return text, nil
}

func (s *scripts) listSecrets(ctx context.Context, c *client.Client, ref atoll.ScriptRef, _ []string) error {
	list, err := c.Secrets(ctx, ref)
	if err != nil {
		return err
	}
	if s.json {
		return printJSON(s.std.Out, list)
	}
	t := table{head: []string{"NAME", "TYPE"}}
	for _, sec := range list {
		t.add(sec.Name, sec.Type)
	}
	return t.write(s.std.Out, "No secrets.")
}
