// Command atoll is a self-hosted Workers for Platforms: `atoll serve` runs a node, the other commands talk to one.
//
// This package is wiring only: it is the one place that knows both the command line (package cli) and the server
// (package node), so that neither imports the other. Its tests are end to end, with the real program and real workerd.
// Nothing here runs concurrently.
package main

import (
	"context"
	"os"

	"atoll.dev/atoll/internal/backup"
	"atoll.dev/atoll/internal/cli"
	"atoll.dev/atoll/internal/node"
	"atoll.dev/atoll/internal/sandbox"
)

// version is set by the linker, see Makefile.
var version = "devel"

func main() {
	sandbox.Main() // does not return in a process that is to become a Worker's
	os.Exit(cli.Main(cli.App{Version: version, Serve: serve, Doctor: doctor, Backup: takeBackup}))
}

func serve(ctx context.Context, cfg cli.ServeConfig) error { return node.Run(ctx, node.Config(cfg)) }

func doctor(_ context.Context, cfg cli.DoctorConfig) []cli.Check {
	var checks []cli.Check
	for _, c := range node.Doctor(cfg.Workerd) {
		checks = append(checks, cli.Check(c))
	}
	return checks
}

func takeBackup(ctx context.Context, data, to string) (cli.BackupReport, error) {
	r, err := backup.Run(ctx, data, to)
	return cli.BackupReport(r), err
}
