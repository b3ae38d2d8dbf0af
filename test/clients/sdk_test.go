package clients_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"testing"
)

// Each major of the TypeScript SDK through the calls it has for Workers for Platforms, each major with its own form of
// upload; version 7 sends a form that says it is JavaScript.
func TestTypeScriptSDK(t *testing.T) {
	t.Parallel()
	for major := 3; major <= 7; major++ {
		t.Run(fmt.Sprintf("major-%d", major), func(t *testing.T) {
			t.Parallel()
			n := startNode(t)
			n.platform()
			n.drive("node_modules/.bin/node", "sdk/contract.mjs", fmt.Sprint(major))
		})
	}
}

// Each major through what an account has beside namespaces: identity, ordinary scripts, versions, routes, KV.
func TestTypeScriptSDKAccount(t *testing.T) {
	t.Parallel()
	for major := 3; major <= 7; major++ {
		t.Run(fmt.Sprintf("major-%d", major), func(t *testing.T) {
			t.Parallel()
			startNode(t).drive("node_modules/.bin/node", "sdk/account.mjs", fmt.Sprint(major))
		})
	}
}

// Each major through what Workers are bound to: D1, R2, queues, secrets stores, Durable Objects.
func TestTypeScriptSDKStorage(t *testing.T) {
	t.Parallel()
	for major := 3; major <= 7; major++ {
		t.Run(fmt.Sprintf("major-%d", major), func(t *testing.T) {
			t.Parallel()
			startNode(t).drive("node_modules/.bin/node", "sdk/storage.mjs", fmt.Sprint(major))
		})
	}
}

// cloudflare-go through the same.
func TestGoSDK(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.platform()
	n.drive(built.gosdk)
}

// drive runs a client's driver and turns each step that it prints into a subtest.
func (n *node) drive(name string, args ...string) {
	n.t.Helper()
	cmd := exec.CommandContext(n.t.Context(), name, args...)
	cmd.Env = append(cleanEnv(), "BASE_URL="+n.base(), "EDGE_URL="+n.edge, "API_TOKEN="+n.token, "ACCOUNT="+n.account,
		"ZONE="+zone)
	cmd.Env = append(cmd.Env, n.driving...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		n.t.Errorf("%s: %v\n%s", name, err, stderr.String())
	}
	steps, skipped := 0, 0
	for line := range bytes.Lines(out) {
		var s struct {
			Step, Error, Skipped string
			OK                   bool
		}
		if err := json.Unmarshal(line, &s); err != nil {
			n.t.Errorf("not a step: %q", line)
			continue
		}
		if s.Skipped != "" {
			skipped++
			continue // not in this major: nothing to hold
		}
		steps++
		n.t.Run(s.Step, func(t *testing.T) {
			if !s.OK {
				t.Error(s.Error)
			}
		})
	}
	if steps < 7 || steps+skipped < 13 {
		n.t.Errorf("only %d steps ran, %d were skipped\n%s", steps, skipped, stderr.String())
	}
}
