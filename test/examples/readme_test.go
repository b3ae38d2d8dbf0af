package examples_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// block is a fenced block of Markdown. Its info says what a reader does with it, and this test:
//
//	sh         type it; the text block behind it, if there is one, is how what it prints ends
//	sh node    type it in a terminal of its own: it runs until the end
//	sh build   has been done by "make test"
//	sh demo    is TestDemo's
//	LANG file=NAME   put it into a file
type block struct {
	line int
	info string
	text string
}

var fence = regexp.MustCompile("^```(.*)$")

func blocks(t *testing.T, file string) []block {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []block
	inside := false
	for i, line := range strings.Split(string(b), "\n") {
		m := fence.FindStringSubmatch(line)
		switch {
		case m != nil && !inside:
			out = append(out, block{line: i + 1, info: m[1]})
			inside = true
		case m != nil:
			inside = false
		case inside:
			out[len(out)-1].text += line + "\n"
		}
	}
	return out
}

// TestReadme types what the README says, from top to bottom, in one shell.
func TestReadme(t *testing.T) {
	t.Parallel()
	dir := clone(t)
	path := nodeModules(t, dir)
	list := blocks(t, filepath.Join(root, "README.md"))
	n := startOf(t, dir, list)
	addresses := strings.NewReplacer("127.0.0.1:8080", strings.TrimPrefix(n.edge, "http://"), "127.0.0.1:8081", strings.TrimPrefix(n.api, "http://"))

	var script strings.Builder
	script.WriteString("set -euo pipefail\n")
	ran := 0
	for i, b := range list {
		kind, name, _ := strings.Cut(b.info, " file=")
		switch {
		case name != "":
			if err := os.WriteFile(filepath.Join(dir, name), []byte(b.text), 0o644); err != nil {
				t.Fatal(err)
			}
		case kind == "sh":
			fmt.Fprintf(&script, "printf '\\n%s\\n'\n%s", mark(i), addresses.Replace(b.text))
			ran++
		case kind == "text" || kind == "" || kind == "sh node" || kind == "sh build" || kind == "sh demo":
		default:
			t.Errorf("README.md:%d: nobody knows what to do with a block called %q", b.line, b.info)
		}
	}
	if ran == 0 {
		t.Fatal("the README has no commands")
	}
	check(t, list, n.shell(path, script.String()))
}

// startOf starts the node as the README says.
func startOf(t *testing.T, dir string, list []block) *node {
	t.Helper()
	for _, b := range list {
		if b.info == "sh node" {
			return start(t, dir, strings.TrimSpace(b.text))
		}
	}
	t.Fatal("the README starts no node")
	return nil
}

// mark is printed before what block i prints.
func mark(i int) string { return fmt.Sprintf("### block %d", i) }

// shell runs a script as a reader would who has node's programs at hand.
func (n *node) shell(path, script string) string {
	n.t.Helper()
	cmd := exec.Command("bash", "-c", script)
	var stderr bytes.Buffer
	cmd.Dir, cmd.Stderr = n.dir, &stderr
	cmd.Env = append(os.Environ(), "ATOLL_API="+n.api, "PATH="+path+":"+os.Getenv("PATH"), "HOME="+n.dir, "CI=1",
		"WRANGLER_SEND_METRICS=false", "WRANGLER_SEND_ERROR_REPORTS=false", "WRANGLER_HIDE_BANNER=true")
	out, err := cmd.Output()
	if err != nil {
		n.t.Fatalf("%v\n%s\n%s", err, out, stderr.String())
	}
	return string(out)
}

// check compares what each block has printed with the text behind it.
func check(t *testing.T, list []block, out string) {
	t.Helper()
	for i, b := range list {
		if b.info != "text" || i == 0 {
			continue
		}
		_, rest, ok := strings.Cut(out, mark(i-1)+"\n")
		if !ok {
			continue // it stands behind nothing that was run
		}
		got, _, _ := strings.Cut(rest, "\n### block ")
		if !strings.HasSuffix(strings.TrimSpace(got), strings.TrimSpace(b.text)) {
			t.Errorf("README.md:%d: the block before prints\n%s", b.line, got)
		}
	}
}

// nodeModules gives the clone the packages that a reader would install, from those of the client tests, and returns the
// folder of their programs.
func nodeModules(t *testing.T, dir string) string {
	t.Helper()
	from, err := filepath.Abs(filepath.Join(root, "test/clients/node_modules"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(from, "wrangler/package.json")); err != nil {
		skip(t, "run 'npm ci' in test/clients first, as 'make test' does")
	}
	to := filepath.Join(dir, "node_modules")
	if err := os.Mkdir(to, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, pkg := range map[string]string{".bin": ".bin", "wrangler": "wrangler", "cloudflare": "cloudflare6"} {
		link(t, filepath.Join(from, pkg), filepath.Join(to, name))
	}
	return filepath.Join(to, ".bin")
}
