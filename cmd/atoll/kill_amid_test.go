package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// killRounds is how often a node is killed: KILL_ROUNDS, or 5.
func killRounds() int {
	if n, err := strconv.Atoi(os.Getenv("KILL_ROUNDS")); err == nil {
		return n
	}
	return 5
}

// killed calls each writer again and again, at once with the others, until it says that it was not acknowledged. After so many
// milliseconds it kills the node with SIGKILL, and returns one that was started on what that left.
func (n *rawNode) killed(t *testing.T, workerd, dir string, after int, writers ...func() bool) *rawNode {
	t.Helper()
	killer := time.AfterFunc(time.Duration(after)*time.Millisecond, func() { n.cmd.Process.Kill() })
	var group sync.WaitGroup
	for _, write := range writers {
		group.Go(func() {
			for write() {
			}
		})
	}
	group.Wait()
	killer.Stop()
	n.cmd.Process.Kill()
	n.cmd.Wait()
	run, err := os.ReadFile(filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(string(run)); err != nil {
		t.Errorf("the run directory of a node that was killed: %v", err)
	}
	n = startRaw(t, workerd, dir)
	if _, err := os.Stat(string(run)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after a new start the run directory of the node before, %q: %v", run, err)
	}
	return n
}

// way is one way to write a key of its own.
type way struct {
	key   string
	write func(n *rawNode, key, value string) bool
}

// killedAmid is killed while each way writes one number after the other, each followed by a dot. It notes which were
// tried last, and which acknowledged.
func (n *rawNode) killedAmid(t *testing.T, workerd, dir string, ways []way, acked, tried []int) *rawNode {
	t.Helper()
	var writers []func() bool
	for i, w := range ways {
		writers = append(writers, func() bool {
			tried[i]++
			if !w.write(n, w.key, fmt.Sprintf("%d.", tried[i])) {
				return false
			}
			acked[i] = tried[i]
			return true
		})
	}
	return n.killed(t, workerd, dir, 100+rand.IntN(800), writers...)
}

// ask makes a request to the API, or to the edge, where it is the host kv.atoll.localhost that is asked.
func (n *rawNode) ask(method, url, body string) (*http.Response, error) {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", n.auth)
	req.Header.Set("Content-Type", "application/json") // for bulk
	req.Host = map[bool]string{true: "kv.atoll.localhost"}[strings.HasPrefix(url, n.edge)]
	return http.DefaultClient.Do(req)
}

// sends makes a request and says whether it was acknowledged; a node that is gone acknowledges nothing.
func (n *rawNode) sends(method, url, body string) bool {
	resp, err := n.ask(method, url, body)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return err == nil && resp.StatusCode == 200 && (string(b) == "done" || strings.Contains(string(b), `"success":true`))
}

// value is what is at a URL of the API or the edge, "" where there is nothing.
func (n *rawNode) value(t *testing.T, url string) string {
	t.Helper()
	resp, err := n.ask("GET", url, "")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 && resp.StatusCode != 404 {
		t.Fatalf("%s: %d %v %.100q", url, resp.StatusCode, err, b)
	}
	if resp.StatusCode == 404 {
		return ""
	}
	return string(b)
}
