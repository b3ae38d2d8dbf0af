package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/client"
	"atoll.dev/atoll/internal/wire"
)

// scripts is what the script commands share.
type scripts struct {
	*remote
	namespace string
}

func scriptCmd(r *remote) *cobra.Command {
	s := &scripts{remote: r}
	cmd := &cobra.Command{
		Use:   "script",
		Short: "Workers: user Workers in a dispatch namespace, platform Workers in the account",
		Long: "A script is a Worker's code with its settings. With --namespace these commands are about a customer's Worker in that\n" +
			"dispatch namespace, without it about the account's own: dispatch Workers and the like. The two never share a name.",
	}
	cmd.PersistentFlags().StringVar(&s.namespace, "namespace", "", "`NAME` of the dispatch namespace (default: the account's own scripts)")
	cmd.AddCommand(deployCmd(s), scriptListCmd(s),
		&cobra.Command{
			Use: "show NAME", Short: "Show a script, its settings and its bindings", Args: cobra.ExactArgs(1),
			RunE: s.onScript(s.show),
		},
		scriptDeleteCmd(s), tagsCmd(s), versionsCmd(s), rollbackCmd(s), secretCmd(s),
	)
	return cmd
}

// onScript is run for commands whose first argument names a script.
func (s *scripts) onScript(f func(ctx context.Context, c *client.Client, ref atoll.ScriptRef, args []string) error) func(*cobra.Command, []string) error {
	return s.run(func(ctx context.Context, c *client.Client, args []string) error {
		ref, err := s.ref(args[0])
		if err != nil {
			return err
		}
		return f(ctx, c, ref, args)
	})
}

// ref is the script of this name, in the namespace of the flag.
func (s *scripts) ref(name string) (atoll.ScriptRef, error) {
	n, err := atoll.ParseScriptName(name)
	if err != nil {
		return atoll.ScriptRef{}, err
	}
	ns, err := s.parseNamespace()
	return atoll.ScriptRef{Namespace: ns, Name: n}, err
}

func (s *scripts) parseNamespace() (atoll.NamespaceName, error) {
	if s.namespace == "" {
		return "", nil
	}
	return atoll.ParseNamespaceName(s.namespace)
}

func scriptListCmd(s *scripts) *cobra.Command {
	var filter string
	cmd := &cobra.Command{
		Use: "list", Short: "List scripts", Args: cobra.NoArgs,
		Example: "  atoll script list --namespace production --tags 'customer-1:yes,beta:no'",
		RunE: s.run(func(ctx context.Context, c *client.Client, _ []string) error {
			return s.list(ctx, c, filter)
		}),
	}
	cmd.Flags().StringVar(&filter, "tags", "", "only scripts whose tags match a `FILTER`: tag:yes or tag:no, separated by commas")
	return cmd
}

func (s *scripts) list(ctx context.Context, c *client.Client, filter string) error {
	ns, err := s.parseNamespace()
	if err != nil {
		return err
	}
	list := []wire.ListedScript{}
	for item, err := range c.Scripts(ctx, ns, filter) {
		if err != nil {
			return err
		}
		list = append(list, item)
	}
	if s.json {
		return printJSON(s.std.Out, list)
	}
	t := table{head: []string{"NAME", "MODIFIED", "FROM", "HANDLERS", "TAGS"}}
	for _, item := range list {
		t.add(item.ID, when(item.ModifiedOn), item.LastDeployedFrom, strings.Join(item.Handlers, " "), strings.Join(item.Tags, ", "))
	}
	return t.write(s.std.Out, "No scripts. Deploy one with 'atoll script deploy FILE'.")
}

// shown is what `script show --json` prints.
type shown struct {
	Script     wire.Script      `json:"script"`
	Settings   wire.Settings    `json:"settings"`
	Deployment *wire.Deployment `json:"deployment"`
}

func (s *scripts) show(ctx context.Context, c *client.Client, ref atoll.ScriptRef, _ []string) error {
	var out shown
	var err error
	if out.Script, err = c.Script(ctx, ref); err != nil {
		return err
	}
	if out.Settings, err = c.Settings(ctx, ref); err != nil {
		return err
	}
	deployments, err := c.Deployments(ctx, ref)
	if err != nil {
		return err
	}
	if len(deployments) > 0 {
		out.Deployment = &deployments[0]
	}
	if s.json {
		return printJSON(s.std.Out, out)
	}
	return out.print(s, ref)
}

func (o shown) print(s *scripts, ref atoll.ScriptRef) error {
	version, deployed := "", ""
	if o.Deployment != nil {
		version, deployed = active(*o.Deployment), when(o.Deployment.CreatedOn)
	}
	err := fields(s.std.Out, "Name", string(ref.Name), "Namespace", string(ref.Namespace), "Version", version, "Deployed", deployed,
		"From", o.Script.LastDeployedFrom, "Created", when(o.Script.CreatedOn), "Handlers", strings.Join(o.Script.Handlers, ", "),
		"Tags", strings.Join(o.Settings.Tags, ", "), "Compatibility", compatibility(o.Settings))
	if err != nil || len(o.Settings.Bindings) == 0 {
		return err
	}
	fmt.Fprintln(s.std.Out)
	t := table{head: []string{"BINDING", "TYPE", "SETTINGS"}}
	for _, b := range o.Settings.Bindings {
		t.add(bindingRow(b)...)
	}
	return t.write(s.std.Out, "")
}

func compatibility(s wire.Settings) string {
	return strings.TrimSpace(s.CompatibilityDate + " " + strings.Join(s.CompatibilityFlags, " "))
}

// bindingRow shows a binding, whatever its type, as its name, its type and the rest.
func bindingRow(raw json.RawMessage) []string {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil {
		return []string{"?", "?", string(raw)}
	}
	text := func(key string) string {
		var v string
		if json.Unmarshal(m[key], &v) == nil {
			return v
		}
		return string(m[key])
	}
	var rest []string
	for key := range m {
		if key != "name" && key != "type" {
			rest = append(rest, key+"="+short(text(key)))
		}
	}
	slices.Sort(rest)
	return []string{text("name"), text("type"), strings.Join(rest, " ")}
}

// short cuts a value to what a table has room for.
func short(s string) string {
	var b bytes.Buffer
	if json.Compact(&b, []byte(s)) == nil {
		s = b.String()
	}
	if r := []rune(s); len(r) > 60 {
		return string(r[:59]) + "…"
	}
	return s
}

func scriptDeleteCmd(s *scripts) *cobra.Command {
	var filter string
	cmd := &cobra.Command{
		Use: "delete [NAME...]", Short: "Delete scripts by name or, in a namespace, by tags",
		Long:    "Deletes scripts by name, or all scripts of a dispatch namespace whose tags match --tags: all of a customer that leaves.",
		Example: "  atoll script delete --namespace production alice\n  atoll script delete --namespace production --tags customer-1:yes",
		RunE: s.run(func(ctx context.Context, c *client.Client, args []string) error {
			switch {
			case filter != "" && len(args) == 0:
				return s.deleteTagged(ctx, c, filter)
			case filter == "" && len(args) > 0:
				return s.deleteNamed(ctx, c, args)
			}
			return hint(&usageError{errors.New("give either names or --tags")}, "'atoll script delete --help' shows how to use it")
		}),
	}
	cmd.Flags().StringVar(&filter, "tags", "", "delete the scripts whose tags match this `FILTER`, such as customer-1:yes")
	return cmd
}

func (s *scripts) deleteTagged(ctx context.Context, c *client.Client, filter string) error {
	ns, err := s.parseNamespace()
	if err != nil {
		return err
	}
	if ns == "" {
		return hint(&usageError{errors.New("--tags deletes in a dispatch namespace only")}, "name it with --namespace")
	}
	names, err := c.DeleteScripts(ctx, ns, filter)
	if err != nil {
		return err
	}
	return s.done(names, "Deleted %d scripts of %s", len(names), ns)
}

func (s *scripts) deleteNamed(ctx context.Context, c *client.Client, names []string) error {
	for _, name := range names {
		ref, err := s.ref(name)
		if err != nil {
			return err
		}
		if err := c.DeleteScript(ctx, ref); err != nil {
			return fmt.Errorf("delete %s: %w", ref, err)
		}
		if !s.json {
			fmt.Fprintf(s.std.Out, "Deleted %s\n", plain(ref.String()))
		}
	}
	if s.json {
		return printJSON(s.std.Out, names)
	}
	return nil
}
