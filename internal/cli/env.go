package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// defaultData is where a node keeps its state unless told otherwise, and where clients look for its token.
const defaultData = "./atoll-data"

// envName is the environment variable of a flag: --api-token is ATOLL_API_TOKEN.
func envName(flag string) string {
	return "ATOLL_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// fromEnv sets the named flags (all, where none is named) from their environment variables, but for those that the
// command line has set.
func fromEnv(cmd *cobra.Command, std Std, names ...string) error {
	var err error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		v := std.Getenv(envName(f.Name))
		if err != nil || f.Changed || v == "" || len(names) > 0 && !slices.Contains(names, f.Name) {
			return
		}
		if e := f.Value.Set(v); e != nil {
			err = hint(&usageError{fmt.Errorf("%s=%q: %w", envName(f.Name), v, e)}, "it stands for --%s: %s", f.Name, f.Usage)
		}
	})
	return err
}
