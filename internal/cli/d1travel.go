package cli

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/internal/client"
)

func d1TravelCmd(r *remote) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "time-travel",
		Short: "Make a database what it was",
		Long: "A database can become again what it was at any minute of the last 30 days, and after each commit of the last day. " +
			"A bookmark names a commit.",
	}
	cmd.AddCommand(d1InfoCmd(r), d1RestoreCmd(r))
	return cmd
}

const timestampUsage = "a `TIME` in the past, as 2026-01-31T12:34:56Z or in seconds since 1970"

// parseTimestamp reads a time; none is zero.
func parseTimestamp(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n > 0 {
		return time.Unix(n, 0), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, hint(&usageError{errors.New("--timestamp " + strconv.Quote(s) + " is no date and time")}, "write it as 2026-01-31T12:34:56Z, or in seconds since 1970")
	}
	return t, nil
}

func d1InfoCmd(r *remote) *cobra.Command {
	var timestamp string
	cmd := &cobra.Command{
		Use: "info DATABASE", Short: "Show the bookmark of a database", Args: cobra.ExactArgs(1),
		Example: "  atoll d1 time-travel info shop --timestamp 2026-01-31T12:34:56Z",
		RunE: r.run(func(ctx context.Context, c *client.Client, args []string) error {
			at, err := parseTimestamp(timestamp)
			if err != nil {
				return err
			}
			b, err := c.Bookmark(ctx, args[0], at)
			if err != nil {
				return err
			}
			if r.json {
				return printJSON(r.std.Out, b)
			}
			return fields(r.std.Out, "Bookmark", b.Bookmark)
		}),
	}
	cmd.Flags().StringVar(&timestamp, "timestamp", "", "the bookmark at "+timestampUsage)
	return cmd
}

func d1RestoreCmd(r *remote) *cobra.Command {
	var bookmark, timestamp string
	cmd := &cobra.Command{
		Use: "restore DATABASE", Short: "Make a database what it was at a bookmark or at a time", Args: cobra.ExactArgs(1),
		Long:    "Makes a database what it was, in one transaction. The bookmark of what it was just before is printed: with it this can be undone.",
		Example: "  atoll d1 time-travel restore shop --timestamp 2026-01-31T12:34:56Z",
		RunE: r.run(func(ctx context.Context, c *client.Client, args []string) error {
			if (bookmark == "") == (timestamp == "") {
				return hint(&usageError{errors.New("give either --bookmark or --timestamp")}, "'atoll d1 time-travel restore --help' shows how to use it")
			}
			at, err := parseTimestamp(timestamp)
			if err != nil {
				return err
			}
			done, err := c.RestoreDatabase(ctx, args[0], bookmark, at)
			if err != nil {
				return err
			}
			return r.done(done, "Restored %s. To undo it, restore it to %s", args[0], done.Previous)
		}),
	}
	cmd.Flags().StringVar(&bookmark, "bookmark", "", "restore to this `BOOKMARK`")
	cmd.Flags().StringVar(&timestamp, "timestamp", "", "restore to "+timestampUsage)
	return cmd
}
