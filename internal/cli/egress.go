package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/client"
	"atoll.dev/atoll/internal/wire"
)

// egressFlags are the flags of `egress set`.
type egressFlags struct {
	allow, deny, ports []string
	tcp                string
}

func egressCmd(r *remote) *cobra.Command {
	s := &scripts{remote: r}
	cmd := &cobra.Command{
		Use:   "egress",
		Short: "What Workers may reach on the internet",
		Long: "Egress rules say what the Workers of a dispatch namespace, or one script, may reach of what the node lets anyone reach,\n" +
			"which is public addresses. A subrequest has to pass the node, the namespace's rules and the script's. Name a namespace with\n" +
			"--namespace, a script in it with SCRIPT as well, one of the account's own scripts with SCRIPT alone. A script's rules are\n" +
			"kept by its name: they may be there before it is, and deleting it does not remove them.",
	}
	cmd.PersistentFlags().StringVar(&s.namespace, "namespace", "", "`NAME` of the dispatch namespace (default: the account's own scripts)")
	cmd.AddCommand(
		&cobra.Command{
			Use: "get [SCRIPT]", Short: "Show egress rules", Args: cobra.MaximumNArgs(1),
			RunE: s.onEgress(s.getEgress),
		},
		egressSetCmd(s),
		&cobra.Command{
			Use: "clear [SCRIPT]", Short: "Remove egress rules", Args: cobra.MaximumNArgs(1),
			RunE: s.onEgress(s.clearEgress),
		},
	)
	return cmd
}

func egressSetCmd(s *scripts) *cobra.Command {
	f := &egressFlags{}
	cmd := &cobra.Command{
		Use: "set [SCRIPT]", Short: "Replace egress rules", Args: cobra.MaximumNArgs(1),
		Long: "Replaces all rules by those of the flags. A TARGET is a host (api.example.com), all hosts below one (*.example.com), an\n" +
			"address or a block of addresses (203.0.113.0/24). What is denied is denied whatever is allowed; without an --allow all that\n" +
			"is not denied is allowed. Requests under way go on, the next ones obey.",
		Example: "  atoll egress set --namespace production --deny '*.example.net' --port 80 --port 443\n" +
			"  atoll egress set --namespace production alice --allow api.example.com",
		RunE: s.onEgress(func(ctx context.Context, c *client.Client, ref atoll.ScriptRef) error {
			return s.setEgress(ctx, c, ref, f)
		}),
	}
	fl := cmd.Flags()
	fl.StringArrayVar(&f.allow, "allow", nil, "reach this `TARGET`, and nothing that is not allowed; repeat it for several")
	fl.StringArrayVar(&f.deny, "deny", nil, "do not reach this `TARGET`")
	fl.StringArrayVar(&f.ports, "port", nil, "reach this `PORT` or range, such as 443 or 8000-8999, and no other")
	fl.StringVar(&f.tcp, "tcp", "default", "raw connections by connect(): `WORD` is on, off or default (off for user Workers)")
	return cmd
}

// onEgress is run for commands about the rules of a namespace or a script.
func (s *scripts) onEgress(f func(ctx context.Context, c *client.Client, ref atoll.ScriptRef) error) func(*cobra.Command, []string) error {
	return s.run(func(ctx context.Context, c *client.Client, args []string) error {
		if len(args) == 1 {
			ref, err := s.ref(args[0])
			if err != nil {
				return err
			}
			return f(ctx, c, ref)
		}
		if s.namespace == "" {
			return hint(&usageError{errors.New("neither a namespace nor a script is named")}, "give --namespace NAME, SCRIPT, or both")
		}
		ns, err := atoll.ParseNamespaceName(s.namespace)
		if err != nil {
			return err
		}
		return f(ctx, c, atoll.ScriptRef{Namespace: ns})
	})
}

func (s *scripts) getEgress(ctx context.Context, c *client.Client, ref atoll.ScriptRef) error {
	r, err := c.EgressRules(ctx, ref)
	if err != nil {
		return err
	}
	if s.json {
		return printJSON(s.std.Out, r)
	}
	return fields(s.std.Out, egressFields(r)...)
}

func egressFields(r wire.EgressRules) []string {
	list := func(l []string, none string) string {
		if len(l) == 0 {
			return none
		}
		return strings.Join(l, ", ")
	}
	tcp := "default"
	if r.TCP != nil {
		tcp = map[bool]string{true: "on", false: "off"}[*r.TCP]
	}
	out := []string{"Allow", list(r.Allow, "everything"), "Deny", list(r.Deny, "nothing"), "Ports", list(r.Ports, "all"), "TCP", tcp}
	if r.Scripts != nil {
		out = append(out, "Scripts with rules", strings.Join(*r.Scripts, ", "))
	}
	if r.ModifiedOn != nil {
		out = append(out, "Modified", when(*r.ModifiedOn))
	}
	return out
}

func (s *scripts) setEgress(ctx context.Context, c *client.Client, ref atoll.ScriptRef, f *egressFlags) error {
	rules := wire.EgressRules{Allow: f.allow, Deny: f.deny, Ports: f.ports}
	switch on := f.tcp == "on"; f.tcp {
	case "on", "off":
		rules.TCP = &on
	case "default":
	default:
		return hint(&usageError{fmt.Errorf("--tcp %s", f.tcp)}, "it is on, off or default")
	}
	r, err := c.SetEgressRules(ctx, ref, rules)
	if err != nil {
		return err
	}
	return s.done(r, "Set the egress rules of %s", egressName(ref))
}

func (s *scripts) clearEgress(ctx context.Context, c *client.Client, ref atoll.ScriptRef) error {
	if err := c.DeleteEgressRules(ctx, ref); err != nil {
		return err
	}
	return s.done(nil, "Removed the egress rules of %s", egressName(ref))
}

func egressName(ref atoll.ScriptRef) string {
	if ref.Name == "" {
		return "namespace " + string(ref.Namespace)
	}
	return ref.String()
}
