// Package cli is the atoll command: its flags, its tables, its errors, one file per noun.
//
// It is not the server: what `serve` and `doctor` do is passed in by cmd/atoll, and every other command is a client of
// the REST API like any other, so that an operator's script can do over HTTP whatever this package does.
//
// Invariants: results go to stdout, everything else to stderr; nothing that came from a Worker or an upload reaches a
// terminal with its control characters. A command reads its settings from flags, else from ATOLL_<FLAG>, else from its
// default, in this order.
//
// Concurrency: an App is a value without state; each Run is independent and uses one goroutine.
package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// App is what the command needs from the program it is part of.
type App struct {
	// Serve runs a node until ctx ends, and drains it then.
	Serve func(ctx context.Context, cfg ServeConfig) error
	// Doctor looks at the machine and says what it finds.
	Doctor func(ctx context.Context, cfg DoctorConfig) []Check
	// Backup copies a node's data directory to a new one.
	Backup func(ctx context.Context, data, to string) (BackupReport, error)
	// Version is the release of this binary.
	Version string
}

// Std is where a command reads and writes, and its environment.
type Std struct {
	In       io.Reader
	Out, Err io.Writer
	Getenv   func(string) string
}

// Exit codes of the command.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2 // the command line itself is wrong
)

// Main runs the command line of this process and returns its exit code. SIGINT and SIGTERM end the context once; a
// second one kills the process as usual, for an operator who does not want to wait for a drain. A process that was
// started with SIGINT ignored, as shells start what is in the background, keeps ignoring it.
func Main(app App) int {
	signals := []os.Signal{syscall.SIGTERM}
	if !signal.Ignored(os.Interrupt) {
		signals = append(signals, os.Interrupt)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	defer stop()
	context.AfterFunc(ctx, stop)
	return app.Run(ctx, os.Args[1:], Std{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv})
}

// Run runs one command line and returns its exit code.
func (app App) Run(ctx context.Context, args []string, std Std) int {
	root := app.root(std)
	root.SetArgs(args)
	root.SetIn(std.In)
	root.SetOut(std.Out)
	root.SetErr(std.Err)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errSilent):
		return exitFailed
	}
	report(std.Err, err)
	var u *usageError
	if errors.As(err, &u) {
		return exitUsage
	}
	return exitFailed
}

// errSilent is for a command that has said all it has to say and only has to fail.
var errSilent = errors.New("failed")

// root builds the tree of commands.
func (app App) root(std Std) *cobra.Command {
	root := &cobra.Command{
		Use:   "atoll",
		Short: "Self-hosted Workers for Platforms",
		Long: "Atoll runs a platform's Workers and its customers' Workers on this machine, and speaks Cloudflare's REST API.\n" +
			"Start a node with 'atoll serve'; the other commands talk to a running one.",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.CompletionOptions.DisableDefaultCmd = true
	r := &remote{std: std}
	root.AddCommand(
		app.serveCmd(std), app.doctorCmd(std), app.backupCmd(std), app.versionCmd(std),
		r.group(siteCmd(r)), r.group(namespaceCmd(r)), r.group(scriptCmd(r)), r.group(routeCmd(r)), r.group(zoneCmd(r)),
		r.group(kvCmd(r)), r.group(r2Cmd(r)), r.group(d1Cmd(r)), r.group(queueCmd(r)), r.group(durableCmd(r)),
		r.group(secretStoreCmd(r)), r.group(egressCmd(r)), r.group(tokenCmd(r)),
	)
	each(root, prepare)
	return root
}

// each calls f with cmd and every command below it.
func each(cmd *cobra.Command, f func(*cobra.Command)) {
	f(cmd)
	for _, c := range cmd.Commands() {
		each(c, f)
	}
}

// prepare gives a command the behaviour that all share: no changing of the order of its flags, usage errors that are
// known as such, and a group without a subcommand that is an error instead of a help text with exit code 0.
func prepare(cmd *cobra.Command) {
	cmd.Flags().SortFlags = false
	cmd.PersistentFlags().SortFlags = false
	cmd.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usage(c, err) })
	if args := cmd.Args; args != nil {
		cmd.Args = func(c *cobra.Command, a []string) error {
			if err := args(c, a); err != nil {
				return usage(c, err)
			}
			return nil
		}
	}
	if cmd.HasSubCommands() && cmd.RunE == nil {
		cmd.Args = cobra.ArbitraryArgs
		cmd.RunE = func(c *cobra.Command, a []string) error {
			if len(a) > 0 {
				return usage(c, errors.New("unknown command "+strings.TrimSpace(c.CommandPath()+" "+a[0])))
			}
			return c.Help()
		}
	}
}
