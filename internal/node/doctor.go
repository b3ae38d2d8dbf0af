package node

import (
	"fmt"

	"golang.org/x/sys/unix"

	"atoll.dev/atoll/internal/sandbox"
	"atoll.dev/atoll/internal/workerd"
)

// Check is one thing that a node needs of its machine.
type Check struct {
	Name     string
	OK       bool
	Required bool // without it a node refuses to run untrusted code
	Detail   string
	Fix      string
}

// minFiles is how many files a node of a few hundred warm Workers has open: about ten a process.
const minFiles = 8192

// Doctor looks at what this machine offers a node.
func Doctor(workerdPath string) []Check {
	engine := Check{Name: "workerd", Required: true}
	bin, err := workerd.Find(workerdPath)
	if err == nil {
		engine.OK, engine.Detail = true, fmt.Sprintf("%s, version %s", bin.Path, bin.Version)
	} else {
		engine.Detail, engine.Fix = err.Error(), "run `make build`, or name workerd with --workerd PATH"
	}
	checks := []Check{engine}
	for _, l := range sandbox.Probe() {
		checks = append(checks, Check{Name: "sandbox: " + l.Name, OK: l.Held, Required: l.Baseline, Detail: l.Detail, Fix: l.Fix})
	}
	return append(checks, files())
}

func files() Check {
	c := Check{Name: "open files"}
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		c.Detail = err.Error()
		return c
	}
	c.OK, c.Detail = lim.Max >= minFiles, fmt.Sprintf("%d", lim.Max)
	if !c.OK {
		c.Fix = fmt.Sprintf("raise the limit to %d or more, such as LimitNOFILE=65536 in the service's unit", minFiles)
	}
	return c
}
