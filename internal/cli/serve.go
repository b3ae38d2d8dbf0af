package cli

import (
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/internal/atoll"
)

// ServeConfig is what the flags and the environment of `atoll serve` say; the flags' texts are its manual.
type ServeConfig struct {
	Data            string
	Edge            string
	API             string
	APIToken        string
	AccountID       string
	Zone            string
	Workerd         string
	InsecureSandbox bool
	EgressAllow     []string
	EgressDeny      []string
	EgressCA        string
	APIAlias        []string
	Limits          atoll.NodeLimits
	WithoutLimits   bool
	SecretKey       string       // of ATOLL_SECRET_KEY alone: a command line is visible to every user of the machine
	Log             *slog.Logger // to stderr
	Stdout          io.Writer    // where the ready line goes
}

func (app App) serveCmd(std Std) *cobra.Command {
	var cfg ServeConfig
	var level, format string
	var limits limitFlag
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a node",
		Long: "Runs a node: the edge that answers the Workers' requests, the REST API, and the processes of the Workers.\n" +
			"Once both listen it prints one line on standard output:\n\n" +
			"    atoll: ready edge=URL api=URL account=ID\n\n" +
			"Its log is on standard error. SIGTERM and SIGINT drain it: requests in progress are finished, new ones refused.\n" +
			"Each flag is also an environment variable: --api-token is ATOLL_API_TOKEN. The key that seals secrets at rest is in\n" +
			"DIR/secret.key, made at first start, unless ATOLL_SECRET_KEY holds one.",
		Example: "  atoll serve\n  atoll serve --data /var/lib/atoll --edge 0.0.0.0:8080 --zone platform.example",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := fromEnv(cmd, std); err != nil {
				return err
			}
			var err error
			if cfg.Limits, err = limits.over(cmd, std); err != nil {
				return err
			}
			if cfg.Log, err = newLogger(std.Err, level, format); err != nil {
				return usage(cmd, err)
			}
			cfg.Stdout, cfg.SecretKey = std.Out, std.Getenv("ATOLL_SECRET_KEY")
			if app.Serve == nil {
				return errors.New("this build has no server")
			}
			return app.Serve(cmd.Context(), cfg)
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.Data, "data", defaultData, "`DIR` that holds everything the node keeps; made if missing")
	f.StringVar(&cfg.Edge, "edge", "127.0.0.1:8080", "`ADDR` for the Workers' requests; port 0 picks a free one")
	f.StringVar(&cfg.API, "api", "127.0.0.1:8081", "`ADDR` for the REST API; port 0 picks a free one")
	f.StringVar(&cfg.APIToken, "api-token", "", "`TOKEN` that may do everything (default: made at first start, kept in DIR/api-token)")
	f.StringVar(&cfg.AccountID, "account-id", "", "the account's id, 32 hexadecimal digits: `HEX32` (default: made at first start)")
	f.StringVar(&cfg.Zone, "zone", "atoll.localhost", "`NAME` of the zone that routes belong to")
	f.StringVar(&cfg.Workerd, "workerd", "", "`PATH` of workerd (default: beside the atoll binary, else in node_modules)")
	f.BoolVar(&cfg.InsecureSandbox, "insecure-sandbox", false, "run even where Workers cannot be isolated; never with code of strangers")
	f.StringSliceVar(&cfg.EgressAllow, "egress-allow", nil, "for development: let Workers reach this `CIDR`, such as 127.0.0.0/8, though it is not public")
	f.StringSliceVar(&cfg.EgressDeny, "egress-deny", nil, "keep Workers from this public `CIDR`, such as your own servers'")
	f.StringVar(&cfg.EgressCA, "egress-ca", "", "PEM `FILE` of certificates that subrequests trust beside the system's")
	f.StringSliceVar(&cfg.APIAlias, "api-alias", nil, "`HOST` that stands for this node's API in subrequests of platform Workers, such as api.cloudflare.com")
	f.Var(&limits, "limit", "`NAME=VALUE` of a limit, such as cpu-ms=50; give several with commas or by repeating the flag; docs/limits.md lists them")
	f.BoolVar(&cfg.WithoutLimits, "without-limits", false, "for measuring only: hold Workers to no limit of CPU time, wall time and memory; never with code of strangers")
	f.StringVar(&level, "log-level", "info", "least `LEVEL` to log: debug, info, warn or error")
	f.StringVar(&format, "log-format", "text", "`FORMAT` of the log: text or json")
	return cmd
}

func newLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	var least slog.Level
	if err := least.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level %s: it is debug, info, warn or error", level)
	}
	opts := &slog.HandlerOptions{Level: least}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	}
	return nil, fmt.Errorf("--log-format %s: it is text or json", format)
}
