// Package examples_test does what a newcomer does: it types the commands of the README, runs the demo and deploys each of
// the examples, in a copy of what a clone holds, with the built program and the real wrangler.
//
// It is not where behaviour is taken apart. Its invariant: a command or an answer that the README shows is one that was
// run, so a change that makes the README wrong fails here. Tests run in parallel, each with a node of its own.
package examples_test

import (
	"flag"
	"fmt"
	"io/fs"
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
	atoll   string
	workerd string
	missing string // why there is nothing to run, or ""
}

func TestMain(m *testing.M) {
	flag.Parse()
	dir, err := os.MkdirTemp("", "atoll-examples-")
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

func build(dir string) error {
	for _, pattern := range []string{"bin/workerd", "engine/node_modules/@cloudflare/workerd-linux-*/bin/workerd"} {
		if found, _ := filepath.Glob(filepath.Join(root, pattern)); len(found) > 0 && built.workerd == "" {
			built.workerd, _ = filepath.Abs(found[0])
		}
	}
	if built.workerd == "" {
		built.missing = "run 'make build' first: there is no workerd"
		return nil
	}
	built.atoll = filepath.Join(dir, "atoll")
	cmd := exec.Command("go", "build", "-o", built.atoll, "./cmd/atoll")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build atoll: %w\n%s", err, out)
	}
	return nil
}

// clone makes a folder with what a clone has after "make build", as far as the examples need it, and returns it.
func clone(t *testing.T) string {
	t.Helper()
	if built.missing != "" {
		skip(t, built.missing)
	}
	dir := t.TempDir()
	for _, name := range []string{"examples", "scripts"} {
		copyTree(t, filepath.Join(root, name), filepath.Join(dir, name))
	}
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	link(t, built.workerd, filepath.Join(dir, "bin/workerd"))
	// A copy, since the program looks for workerd beside where its file really is.
	copyFile(t, built.atoll, filepath.Join(dir, "bin/atoll"), 0o755)
	return dir
}

// skip skips a test that lacks something, except where everything has to run.
func skip(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("ATOLL_E2E") == "all" || os.Getenv("CI") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

func link(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Symlink(from, to); err != nil {
		t.Fatal(err)
	}
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		switch {
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".wrangler"):
			return filepath.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		copyFile(t, p, filepath.Join(to, rel), info.Mode().Perm())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func copyFile(t *testing.T, from, to string, mode fs.FileMode) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, mode); err != nil {
		t.Fatal(err)
	}
}
