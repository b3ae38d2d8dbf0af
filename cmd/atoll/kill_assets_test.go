package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestKillDuringAssets kills the node with SIGKILL amid deploys of a site by `atoll deploy`, at any moment of the upload, the
// deploy and what is between. The site is then that of the last deploy that was acknowledged, or of the one in flight,
// and all its files are of the same one.
func TestKillDuringAssets(t *testing.T) {
	const rounds, files = 12, 20
	workerd, dir, site := findWorkerd(t), t.TempDir(), t.TempDir()
	n := startRaw(t, workerd, dir)
	// deploy writes generation g of the site and deploys it.
	deploy := func(g int) error {
		for i := range files {
			if err := os.WriteFile(filepath.Join(site, fmt.Sprintf("f%d.txt", i)), fmt.Appendf(nil, "%d of %d", g, i), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return n.atoll(t, dir, "deploy", site, "--name", "site")
	}
	if err := deploy(0); err != nil {
		t.Fatal(err)
	}
	if err := n.atoll(t, dir, "route", "add", "site.atoll.localhost/*", "site"); err != nil {
		t.Fatal(err)
	}
	acked, tried := 0, 0
	for round := range rounds {
		n = n.killed(t, workerd, dir, rand.IntN(400), func() bool {
			tried++
			if deploy(tried) != nil {
				return false
			}
			acked = tried
			return true
		})
		first := n.generation(t, 0)
		if first != acked && first != tried {
			t.Fatalf("round %d: the site is of generation %d; acknowledged was %d, and last sent %d", round, first, acked, tried)
		}
		for i := range files {
			if g := n.generation(t, i); g != first {
				t.Fatalf("round %d: file %d is of generation %d, the first of %d", round, i, g, first)
			}
		}
		acked, tried = first, max(first, tried)
	}
	t.Logf("%d deploys in %d rounds", tried, rounds)
}

// atoll runs a command of this test's binary against the node.
func (n *rawNode) atoll(t *testing.T, data string, args ...string) error {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	api, _, _ := strings.Cut(n.base, "/client/v4")
	cmd := &exec.Cmd{Path: self, Args: append([]string{"atoll"}, append(args, "--api", api, "--data", data)...)}
	return cmd.Run()
}

// generation returns which generation of the site a file that the edge serves is of.
func (n *rawNode) generation(t *testing.T, file int) int {
	t.Helper()
	req, err := http.NewRequest("GET", fmt.Sprintf("%s/f%d.txt", n.edge, file), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "site.atoll.localhost"
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var g, i int
	if _, err := fmt.Sscanf(string(b), "%d of %d", &g, &i); err != nil || i != file {
		t.Fatalf("file %d is %d %q", file, res.StatusCode, b)
	}
	return g
}
