package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/internal/client"
	"atoll.dev/atoll/internal/wire"
)

func d1Cmd(r *remote) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "d1",
		Short: "SQL databases",
		Long:  "D1 keeps databases with SQL, which Workers reach through bindings. DATABASE is a name or an id.",
	}
	cmd.AddCommand(
		&cobra.Command{
			Use: "create NAME", Short: "Make a database", Args: cobra.ExactArgs(1),
			RunE: r.run(func(ctx context.Context, c *client.Client, args []string) error {
				d, err := c.CreateDatabase(ctx, args[0])
				if err != nil {
					return err
				}
				return r.done(d, "Made database %s (%s)", d.Name, d.UUID)
			}),
		},
		&cobra.Command{Use: "list", Short: "List the databases", Args: cobra.NoArgs, RunE: r.run(r.listDatabases)},
		&cobra.Command{
			Use: "get DATABASE", Short: "Show a database", Args: cobra.ExactArgs(1),
			RunE: r.run(func(ctx context.Context, c *client.Client, args []string) error {
				d, err := c.Database(ctx, args[0])
				if err != nil {
					return err
				}
				if r.json {
					return printJSON(r.std.Out, d)
				}
				return fields(r.std.Out, "Name", d.Name, "ID", d.UUID, "Made", when(d.CreatedAt), "Size", strconv.FormatInt(d.FileSize, 10)+" bytes",
					"History", strconv.FormatInt(d.HistorySize, 10)+" bytes", "Tables", strconv.FormatInt(*orZero(d.NumTables), 10))
			}),
		},
		&cobra.Command{
			Use: "delete DATABASE", Short: "Delete a database with all that is in it", Args: cobra.ExactArgs(1),
			Long: "Deletes a database with all that is in it. Workers that are bound to it have errors from then on.",
			RunE: r.run(func(ctx context.Context, c *client.Client, args []string) error {
				if err := c.DeleteDatabase(ctx, args[0]); err != nil {
					return err
				}
				return r.done(nil, "Deleted database %s", args[0])
			}),
		},
		d1ExecuteCmd(r), d1ExportCmd(r), d1TravelCmd(r),
	)
	return cmd
}

func orZero(n *int64) *int64 {
	if n == nil {
		return new(int64)
	}
	return n
}

func (r *remote) listDatabases(ctx context.Context, c *client.Client, _ []string) error {
	list, err := c.Databases(ctx)
	if err != nil {
		return err
	}
	if r.json {
		return printJSON(r.std.Out, list)
	}
	t := table{head: []string{"NAME", "ID", "BYTES"}}
	for _, d := range list {
		t.add(d.Name, d.UUID, strconv.FormatInt(d.FileSize, 10))
	}
	return t.write(r.std.Out, "No databases. Make one with 'atoll d1 create NAME'.")
}

func d1ExecuteCmd(r *remote) *cobra.Command {
	var file string
	var params []string
	cmd := &cobra.Command{
		Use: "execute DATABASE [SQL]", Short: "Run SQL in a database", Args: cobra.RangeArgs(1, 2),
		Long:    "Runs SQL, or a file of it, in one transaction: all of it is done, or nothing.",
		Example: "  atoll d1 execute shop 'SELECT * FROM orders WHERE id = ?' --param 7\n  atoll d1 execute shop --file schema.sql",
		RunE: r.run(func(ctx context.Context, c *client.Client, args []string) error {
			switch {
			case len(args) == 2 && file == "":
				q := wire.D1Query{SQL: args[1]}
				for _, p := range params {
					q.Params = append(q.Params, p)
				}
				results, err := c.QueryDatabase(ctx, args[0], q)
				if err != nil {
					return err
				}
				return r.printResults(results)
			case len(args) == 1 && file != "" && params == nil:
				return r.importFile(ctx, c, args[0], file)
			}
			return hint(&usageError{errors.New("give either SQL or --file")}, "'atoll d1 execute --help' shows how to use it")
		}),
	}
	cmd.Flags().StringVar(&file, "file", "", "take the SQL from this `FILE`; - is standard input")
	cmd.Flags().StringArrayVar(&params, "param", nil, "bind this `TEXT` to the next '?'")
	return cmd
}

func (r *remote) importFile(ctx context.Context, c *client.Client, database, file string) error {
	sql, err := os.ReadFile(file)
	if file == "-" {
		sql, err = io.ReadAll(r.std.In)
	}
	if err != nil {
		return err
	}
	result, err := c.ImportDatabase(ctx, database, sql)
	if err != nil {
		return err
	}
	return r.done(result, "Ran %d statements in %s", result.NumQueries, database)
}

// printResults prints a table for each statement that answers rows, and what the others have changed.
func (r *remote) printResults(results []wire.D1Raw) error {
	if r.json {
		return printJSON(r.std.Out, results)
	}
	for _, res := range results {
		if len(res.Results.Columns) == 0 {
			fmt.Fprintf(r.std.Out, "Changed %d rows\n", res.Meta.Changes)
			continue
		}
		t := table{head: res.Results.Columns}
		for _, row := range res.Results.Rows {
			cells := make([]string, len(row))
			for i, v := range row {
				cells[i] = cell(v)
			}
			t.add(cells...)
		}
		if err := t.write(r.std.Out, "No rows."); err != nil {
			return err
		}
	}
	return nil
}

// cell is a value as a table shows it: text as it is, anything else as JSON.
func cell(v json.RawMessage) string {
	var text string
	if json.Unmarshal(v, &text) == nil && string(v) != "null" {
		return text
	}
	return string(v)
}

func d1ExportCmd(r *remote) *cobra.Command {
	var output string
	var o wire.D1DumpOptions
	cmd := &cobra.Command{
		Use: "export DATABASE", Short: "Write a database as SQL", Args: cobra.ExactArgs(1),
		Long:    "Writes a database, as it is at one moment, as SQL that makes it again.",
		Example: "  atoll d1 export shop --output shop.sql",
		RunE: r.run(func(ctx context.Context, c *client.Client, args []string) (err error) {
			w := r.std.Out
			if output != "" {
				f, err := os.OpenFile(output, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
				if err != nil {
					return err
				}
				defer func() { err = errors.Join(err, f.Close()) }()
				w = f
			}
			return c.ExportDatabase(ctx, args[0], o, w)
		}),
	}
	cmd.Flags().StringVar(&output, "output", "", "write to this `FILE` and not to standard output")
	cmd.Flags().StringArrayVar(&o.Tables, "table", nil, "only this `TABLE`; repeat it for more")
	cmd.Flags().BoolVar(&o.NoSchema, "no-schema", false, "only the rows")
	cmd.Flags().BoolVar(&o.NoData, "no-data", false, "only the schema")
	return cmd
}
