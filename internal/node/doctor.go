package node

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"golang.org/x/sys/unix"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/isolate"
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
	if engine.OK {
		checks = append(checks, tracing(bin))
	}
	return append(checks, files())
}

// tracing starts an empty Worker and looks whether what it runs can be stopped.
func tracing(bin workerd.Binary) Check {
	c := Check{Name: "stopping a request over its CPU limit"}
	err := traceable(bin)
	if err == nil {
		c.OK, c.Detail = true, "by ptrace, alone"
		return c
	}
	c.Detail = err.Error() + "; the whole process is killed instead"
	c.Fix = "let the node trace its children: kernel.yama.ptrace_scope of 0 or 1, and no seccomp filter or security module that denies ptrace"
	return c
}

func traceable(bin workerd.Binary) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	layers := sandbox.Probe()
	box, err := sandbox.New(sandbox.Options{Insecure: sandbox.Baseline(layers) != nil})
	if err != nil {
		return fmt.Errorf("prepare sandbox: %w", err)
	}
	defer box.Close()
	run, err := makeRunDir()
	if err != nil {
		return err
	}
	defer run.Close()
	factory, err := isolate.New(slog.New(slog.DiscardHandler), bin, box, http.NotFoundHandler(), isolate.Options{Dir: run.isolates()})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { factory.Run(ctx); close(done) }()
	defer func() { stop(); <-done }()
	code := func(string) ([]byte, error) { return []byte("export default {};"), nil }
	p, err := factory.Start(isolate.Spec{Load: code, Version: &atoll.Version{MainModule: "worker.js", CompatibilityDate: "2026-01-01",
		Modules: []atoll.Module{{Name: "worker.js", Type: atoll.ESModule}}}})
	if err != nil {
		return fmt.Errorf("start a Worker: %w", err)
	}
	res, err := p.Client.Do(ctx, isolate.Exports())
	if err != nil {
		return fmt.Errorf("start a Worker: %w: %.200q", err, p.Output())
	}
	res.Body.Close()
	return p.Traceable()
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
