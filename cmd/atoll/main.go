// Command atoll is a self-hosted Workers for Platforms: `atoll serve` runs a node, the other commands talk to one.
//
// This package is wiring only: it is the one place that knows both the command line (package cli) and the server
// (package node), so that neither imports the other. Its tests are end to end, with the real program and real workerd.
// Nothing here runs concurrently.
package main

import (
	"os"

	"atoll.dev/atoll/internal/cli"
)

// version is set by the linker, see Makefile.
var version = "devel"

func main() {
	os.Exit(cli.Main(cli.App{Version: version}))
}
