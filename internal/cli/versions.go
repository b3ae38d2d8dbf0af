package cli

import (
	"context"
	"errors"
	"strconv"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/client"
	"atoll.dev/atoll/internal/wire"
)

func versionsCmd(s *scripts) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "versions NAME", Short: "List the versions of a script, newest first", Args: cobra.ExactArgs(1),
		Long: "Lists the versions of a script. Every upload and every change of settings or secrets made one; '*' marks the one that\n" +
			"serves.",
		RunE: s.onScript(func(ctx context.Context, c *client.Client, ref atoll.ScriptRef, _ []string) error {
			return s.versions(ctx, c, ref, limit)
		}),
	}
	cmd.Flags().IntVar(&limit, "limit", 20, "show at most `N`")
	return cmd
}

func (s *scripts) versions(ctx context.Context, c *client.Client, ref atoll.ScriptRef, limit int) error {
	list, err := c.Versions(ctx, ref, limit)
	if err != nil {
		return err
	}
	if s.json {
		return printJSON(s.std.Out, list)
	}
	deployments, err := c.Deployments(ctx, ref)
	if err != nil {
		return err
	}
	serving := ""
	if len(deployments) > 0 {
		serving = active(deployments[0])
	}
	t := table{head: []string{"", "NUMBER", "ID", "CREATED", "FROM", "MESSAGE"}}
	for _, v := range list {
		mark := ""
		if v.ID == serving {
			mark = "*"
		}
		t.add(mark, strconv.Itoa(v.Number), v.ID, when(v.Metadata.CreatedOn), v.Metadata.Source, v.Annotations["workers/message"])
	}
	return t.write(s.std.Out, "No versions.")
}

func rollbackCmd(s *scripts) *cobra.Command {
	var message string
	cmd := &cobra.Command{
		Use: "rollback NAME [VERSION]", Short: "Deploy an earlier version of a script again", Args: cobra.RangeArgs(1, 2),
		Long: "Makes an earlier version of a script the one that serves: VERSION, or the one that served before this one.",
		RunE: s.onScript(func(ctx context.Context, c *client.Client, ref atoll.ScriptRef, args []string) error {
			id, err := rollbackTarget(ctx, c, ref, args[1:])
			if err != nil {
				return err
			}
			d, err := c.DeployVersion(ctx, ref, id, message)
			if err != nil {
				return err
			}
			return s.done(d, "%s serves version %s again", ref, id)
		}),
	}
	cmd.Flags().StringVar(&message, "message", "", "`TEXT` to remember the rollback by")
	return cmd
}

// rollbackTarget is the version that was asked for, else the last one that served and is not serving now.
func rollbackTarget(ctx context.Context, c *client.Client, ref atoll.ScriptRef, args []string) (atoll.VersionID, error) {
	if len(args) == 1 {
		return atoll.ParseVersionID(args[0])
	}
	deployments, err := c.Deployments(ctx, ref)
	if err != nil {
		return "", err
	}
	for _, d := range deployments {
		if id := active(d); id != active(deployments[0]) {
			return atoll.ParseVersionID(id)
		}
	}
	return "", hint(errors.New("no other version has served before"), "'atoll script versions' lists the versions, name one")
}

// active is the version that gets the requests of a deployment: the one with the largest share.
func active(d wire.Deployment) string {
	id, most := "", -1.0
	for _, v := range d.Versions {
		if v.Percentage > most {
			id, most = v.VersionID, v.Percentage
		}
	}
	return id
}
