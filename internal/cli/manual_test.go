package cli

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "rewrite docs/cli.md and the golden files")

const manualFile = "../../docs/cli.md"

// The manual is made from the commands themselves, so that a flag cannot be without its line there.
func TestManualIsCurrent(t *testing.T) {
	root := App{}.root(Std{Getenv: func(string) string { return "" }})
	got := manual(root)
	if *update {
		if err := os.WriteFile(manualFile, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(manualFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("docs/cli.md is stale, 'go test ./internal/cli -update' rewrites it (-file +commands):\n%s", diff)
	}
}

// docs/configuration.md is written by hand, and tells every flag of the node with its variable and its default.
func TestConfigurationTellsEveryFlag(t *testing.T) {
	b, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	App{}.serveCmd(Std{}).Flags().VisitAll(func(f *pflag.Flag) {
		name, _ := pflag.UnquoteUsage(f)
		flag := strings.TrimSpace("--" + f.Name + " " + name)
		row := "| `" + flag + "` | `" + envName(f.Name) + "` | "
		if d := f.DefValue; d != "" && d != "false" && d != "[]" {
			row += "`" + d + "` | "
		}
		if !strings.Contains(string(b), row) {
			t.Errorf("docs/configuration.md has no row that begins with %s", row)
		}
	})
}

const manualHead = `# The atoll command

<!-- Made from the commands by 'go test ./internal/cli -update'. -->

%s

Results are on standard output, errors and hints on standard error. The exit code is 0 when a command has done what it
says, 1 when it has not, 2 when the command line itself is wrong.

The commands %s talk to a running node. They share these flags, each of which is also an environment variable
(` + "`ATOLL_API`, `ATOLL_TOKEN`, `ATOLL_ACCOUNT`, `ATOLL_DATA`" + `):

` + "```\n%s```\n"

// manual writes all commands below root as Markdown.
func manual(root *cobra.Command) string {
	var b strings.Builder
	var remotes []string
	var shared *pflag.FlagSet
	for _, c := range root.Commands() {
		if c.PersistentFlags().Lookup("api") == nil {
			continue
		}
		remotes = append(remotes, "`"+c.Name()+"`")
		shared = pflag.NewFlagSet("", pflag.ContinueOnError)
		shared.SortFlags = false
		c.PersistentFlags().VisitAll(func(f *pflag.Flag) {
			if root.PersistentFlags().Lookup(f.Name) == nil && isShared(f.Name) {
				shared.AddFlag(f)
			}
		})
	}
	fmt.Fprintf(&b, manualHead, root.Long, strings.Join(remotes, ", "), shared.FlagUsages())
	each(root, func(c *cobra.Command) {
		if c.Runnable() && c != root && c.Name() != "help" {
			command(&b, c)
		}
	})
	return b.String()
}

func isShared(name string) bool {
	return name == "json" || strings.Contains(" "+strings.Join(remoteFlags, " ")+" ", " "+name+" ")
}

// command writes one command.
func command(b *strings.Builder, c *cobra.Command) {
	depth := "##"
	if c.Parent().HasParent() {
		depth = "###"
	}
	fmt.Fprintf(b, "\n%s %s\n\n%s.\n", depth, c.CommandPath(), c.Short)
	if c.Long != "" {
		fmt.Fprintf(b, "\n%s\n", c.Long)
	}
	if !c.HasSubCommands() {
		fmt.Fprintf(b, "\n```\n%s\n```\n", strings.TrimSuffix(c.UseLine(), " [flags]"))
	}
	if c.Example != "" {
		fmt.Fprintf(b, "\nFor example:\n\n```\n%s\n```\n", strings.ReplaceAll(strings.TrimPrefix(c.Example, "  "), "\n  ", "\n"))
	}
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	own.SortFlags = false
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		remote := c.InheritedFlags().Lookup("api") != nil || c.PersistentFlags().Lookup("api") != nil
		if f.Name != "help" && !(remote && isShared(f.Name)) {
			own.AddFlag(f)
		}
	})
	if usages := own.FlagUsages(); usages != "" {
		fmt.Fprintf(b, "\nFlags:\n\n```\n%s```\n", usages)
	}
}
