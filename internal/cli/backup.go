package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

// BackupReport is what a backup holds.
type BackupReport struct {
	Databases int   `json:"databases"`
	Files     int   `json:"files"`
	Bytes     int64 `json:"bytes"`
	Running   bool  `json:"running"` // the node ran meanwhile

	Damaged []string `json:"damaged,omitempty"` // files of a tenant's that are no databases any more, and why; copied byte by byte
	Unknown []string `json:"unknown,omitempty"` // what is in the data directory and not of a node's; copied
	Skipped []string `json:"skipped,omitempty"` // what is neither file nor directory; not copied
}

func (app App) backupCmd(std Std) *cobra.Command {
	var data string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "backup TO",
		Short: "Copy a node's data directory, also while it runs",
		Long: "Copies the data directory to TO, which must not be there yet. The node may run and be written to: each database is\n" +
			"copied as it is at one moment, with all the content that it refers to, and what was acknowledged before is in it.\n" +
			"TO is a data directory like any other: 'atoll serve --data TO' serves what is in it. It holds the key that seals\n" +
			"secrets, unless ATOLL_SECRET_KEY does: keep it safe. Run it as the user that the node runs as.",
		Example: "  atoll backup --data /var/lib/atoll /backup/atoll-2026-11-28",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := fromEnv(cmd, std); err != nil {
				return err
			}
			if app.Backup == nil {
				return errors.New("this build has no backups")
			}
			return takeBackup(cmd.Context(), std, app.Backup, data, args[0], asJSON)
		},
	}
	cmd.Flags().StringVar(&data, "data", defaultData, "`DIR` of the node's data")
	jsonFlag(cmd.Flags(), &asJSON)
	return cmd
}

func takeBackup(ctx context.Context, std Std, backup func(context.Context, string, string) (BackupReport, error), data, to string, asJSON bool) error {
	r, err := backup(ctx, data, to)
	if err != nil {
		return err
	}
	if asJSON {
		return json.NewEncoder(std.Out).Encode(r)
	}
	state := "stopped"
	if r.Running {
		state = "running"
	}
	for what, names := range map[string][]string{"is damaged, and was copied as it is": r.Damaged, "is nothing that a node makes; it was copied": r.Unknown,
		"is neither file nor directory, and was not copied": r.Skipped} {
		for _, name := range names {
			fmt.Fprintf(std.Err, "atoll: %q %s\n", name, what)
		}
	}
	_, err = fmt.Fprintf(std.Out, "Backed up the %s node in %s to %s: %d databases, %d files, %d bytes.\n", state, data, to, r.Databases, r.Files, r.Bytes)
	return err
}
