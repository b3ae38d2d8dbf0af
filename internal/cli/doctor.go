package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// DoctorConfig is what the flags of `atoll doctor` say.
type DoctorConfig struct {
	Data    string
	Workerd string
}

// Check is one thing that a node needs of its machine.
type Check struct {
	Name     string `json:"name"`
	OK       bool   `json:"ok"`
	Required bool   `json:"required"` // without it `atoll serve` refuses to run untrusted code
	Detail   string `json:"detail,omitempty"`
	Fix      string `json:"fix,omitempty"` // what to do where it is not OK
}

func (app App) doctorCmd(std Std) *cobra.Command {
	var cfg DoctorConfig
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check what this machine offers a node",
		Long: "Checks that workerd runs, which layers of the sandbox hold here, whether a request can be stopped at its CPU limit,\n" +
			"and the limits of this user, with a fix for each\n" +
			"that is missing. It fails when something is missing that 'atoll serve' cannot do without.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := fromEnv(cmd, std); err != nil {
				return err
			}
			if app.Doctor == nil {
				return errors.New("this build has no doctor")
			}
			return diagnose(cmd.Context(), std.Out, app.Doctor, cfg, asJSON)
		},
	}
	cmd.Flags().StringVar(&cfg.Data, "data", defaultData, "`DIR` the node would use")
	cmd.Flags().StringVar(&cfg.Workerd, "workerd", "", "`PATH` of workerd (default: beside the atoll binary, else in node_modules)")
	jsonFlag(cmd.Flags(), &asJSON)
	return cmd
}

// diagnose prints the checks and fails where a required one does.
func diagnose(ctx context.Context, w io.Writer, doctor func(context.Context, DoctorConfig) []Check, cfg DoctorConfig, asJSON bool) error {
	checks := doctor(ctx, cfg)
	bad := 0
	for _, c := range checks {
		if c.Required && !c.OK {
			bad++
		}
	}
	if err := printChecks(w, checks, asJSON); err != nil {
		return err
	}
	if bad > 0 {
		return hint(fmt.Errorf("%d of %d checks that a node needs failed", bad, len(checks)), "the lines marked 'fix' say what to do")
	}
	return nil
}

func printChecks(w io.Writer, checks []Check, asJSON bool) error {
	if asJSON {
		return printJSON(w, checks)
	}
	t := table{head: []string{"CHECK", "STATE", "DETAIL"}}
	for _, c := range checks {
		t.add(c.Name, c.state(), c.Detail)
		if !c.OK && c.Fix != "" {
			t.add("", "fix", c.Fix)
		}
	}
	return t.write(w, "Nothing was checked.")
}

func (c Check) state() string {
	switch {
	case c.OK:
		return "ok"
	case c.Required:
		return "MISSING"
	}
	return "missing"
}
