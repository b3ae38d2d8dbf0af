package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/internal/atoll"
)

// limitFlag collects the values of --limit, which may be repeated and may each hold several. It implements pflag.Value.
type limitFlag struct{ pairs []string }

// String is empty: what holds without the flag is the table in docs/limits.md.
func (l *limitFlag) String() string { return "" }

// Type implements pflag.Value.
func (l *limitFlag) Type() string { return "limit" }

// Set adds the pairs of a list and refuses those that are wrong.
func (l *limitFlag) Set(list string) error {
	for pair := range strings.SplitSeq(list, ",") {
		pair = strings.TrimSpace(pair)
		if err := setLimit(&atoll.NodeLimits{}, pair); err != nil {
			return err
		}
		l.pairs = append(l.pairs, pair)
	}
	return nil
}

func setLimit(l *atoll.NodeLimits, pair string) error {
	name, value, ok := strings.Cut(pair, "=")
	if !ok {
		return fmt.Errorf("%q is not NAME=VALUE", pair)
	}
	return l.Set(name, value)
}

// over returns the defaults with what the flag says on top. Where both the command line and the environment set limits, the
// command line wins for each name, and does not drop the others: forgetting a bound is worse than a surprise.
func (l *limitFlag) over(cmd *cobra.Command, std Std) (atoll.NodeLimits, error) {
	limits := atoll.DefaultLimits()
	var env limitFlag
	if v := std.Getenv(envName("limit")); v != "" {
		if err := env.Set(v); err != nil {
			return limits, usage(cmd, fmt.Errorf("%s=%q: %w", envName("limit"), v, err))
		}
	}
	for _, pair := range append(env.pairs, l.pairs...) {
		if err := setLimit(&limits, pair); err != nil {
			return limits, usage(cmd, err) // unreachable: Set has looked
		}
	}
	return limits, nil
}
