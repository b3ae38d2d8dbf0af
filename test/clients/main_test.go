// Package clients_test is the contract with the clients that Atoll promises to satisfy: wrangler, the cloudflare SDKs for
// TypeScript (a release of each major) and Go, curl with the brief's calls as written, and the upload dialects of
// Cloudflare's own templates. Each test starts the built program on free ports and looks at what a client printed, and
// then at the effect, by a request through the edge.
//
// It is not where behaviour is taken apart: the packages have their own tests. Its invariant: nothing here imports the
// product, so that a client never sees more than a customer's would. Tests run in parallel, each with a node of its own.
package clients_test

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// root is the repository, seen from this folder.
const root = "../.."

// built is what TestMain prepares for all tests.
var built struct {
	atoll   string // the program under test
	gosdk   string // the driver of cloudflare-go
	workerd string
	missing string // why the clients cannot run, or ""
}

func TestMain(m *testing.M) {
	flag.Parse()
	dir, err := os.MkdirTemp("", "atoll-clients-")
	if err != nil {
		log.Fatal(err)
	}
	if err := build(dir); err != nil {
		log.Print(err)
		os.RemoveAll(dir)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// build makes the programs that the tests run. What npm brings is not fetched here but by "make test".
func build(dir string) error {
	for _, f := range []string{"node_modules/.bin/node", "node_modules/wrangler/package.json"} {
		if _, err := os.Stat(f); err != nil {
			built.missing = "run 'npm ci' in test/clients first, as 'make test' does"
			return nil
		}
	}
	for _, pattern := range []string{"bin/workerd", "engine/node_modules/@cloudflare/workerd-linux-*/bin/workerd"} {
		if found, _ := filepath.Glob(filepath.Join(root, pattern)); len(found) > 0 && built.workerd == "" {
			built.workerd, _ = filepath.Abs(found[0])
		}
	}
	if built.workerd == "" {
		built.missing = "run 'make build' first: there is no workerd"
		return nil
	}
	built.atoll, built.gosdk = filepath.Join(dir, "atoll"), filepath.Join(dir, "gosdk")
	for _, b := range []struct{ dir, pkg, out string }{
		{root, "./cmd/atoll", built.atoll},
		{"gosdk", ".", built.gosdk},
	} {
		cmd := exec.CommandContext(context.Background(), "go", "build", "-o", b.out, b.pkg)
		cmd.Dir = b.dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", b.pkg, err, out)
		}
	}
	return nil
}

// need skips a test whose clients are not installed, except where everything has to run.
func need(t *testing.T) {
	t.Helper()
	if built.missing == "" {
		return
	}
	if os.Getenv("ATOLL_E2E") == "all" || os.Getenv("CI") != "" {
		t.Fatal(built.missing)
	}
	t.Skip(built.missing)
}
