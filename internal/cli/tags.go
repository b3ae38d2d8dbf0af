package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/client"
)

// tagFlags are the flags of `script tags`.
type tagFlags struct {
	set, add, remove []string
	clear            bool
}

func tagsCmd(s *scripts) *cobra.Command {
	f := &tagFlags{}
	cmd := &cobra.Command{
		Use: "tags NAME", Short: "Show or change the tags of a script", Args: cobra.ExactArgs(1),
		Long: "Shows the tags of a script, after changing them where a flag says so. A script has at most 8; a tag has no ',' and no '&'.",
		Example: "  atoll script tags --namespace production alice\n" +
			"  atoll script tags --namespace production alice --add beta --remove free",
		RunE: s.onScript(func(ctx context.Context, c *client.Client, ref atoll.ScriptRef, _ []string) error {
			return s.tags(ctx, c, ref, f)
		}),
	}
	cmd.Flags().StringArrayVar(&f.set, "set", nil, "replace all tags by this `TAG`; repeat it for several")
	cmd.Flags().BoolVar(&f.clear, "clear", false, "remove all tags")
	cmd.Flags().StringArrayVar(&f.add, "add", nil, "add this `TAG`")
	cmd.Flags().StringArrayVar(&f.remove, "remove", nil, "remove this `TAG`")
	return cmd
}

func (s *scripts) tags(ctx context.Context, c *client.Client, ref atoll.ScriptRef, f *tagFlags) error {
	if f.clear || len(f.set) > 0 {
		if _, err := c.SetTags(ctx, ref, f.set); err != nil {
			return err
		}
	}
	for _, tag := range f.add {
		if err := c.AddTag(ctx, ref, tag); err != nil {
			return err
		}
	}
	for _, tag := range f.remove {
		if err := c.RemoveTag(ctx, ref, tag); err != nil {
			return err
		}
	}
	tags, err := c.Tags(ctx, ref)
	if err != nil {
		return err
	}
	if len(tags) == 0 && !s.json {
		return s.done(nil, "%s has no tags", ref)
	}
	return s.done(tags, "%s", strings.Join(tags, ", "))
}
