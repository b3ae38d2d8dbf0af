package cli

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"atoll.dev/atoll/internal/atoll"
)

func TestServeIsLimited(t *testing.T) {
	want := atoll.DefaultLimits()
	want.CPUMs, want.MemoryMB, want.RequestBody = 50, 64, 2<<20
	flags := []string{"--limit", "cpu-ms=50", "--limit", "memory-mb=64, request-body=2MB"}
	if diff := cmp.Diff(want, served(t, nil, flags...).Limits); diff != "" {
		t.Error(diff)
	}
	env := map[string]string{"ATOLL_LIMIT": "cpu-ms=50,memory-mb=64,request-body=2MB"}
	if diff := cmp.Diff(want, served(t, env).Limits); diff != "" {
		t.Error(diff)
	}
	// both: the flag wins where they meet, and drops nothing
	env["ATOLL_LIMIT"] = "cpu-ms=7,request-body=2MB"
	if diff := cmp.Diff(want, served(t, env, "--limit", "cpu-ms=50,memory-mb=64").Limits); diff != "" {
		t.Error(diff)
	}
}

func TestServeRefusesLimitsItDoesNotKnow(t *testing.T) {
	const help = "\natoll: hint: 'atoll serve --help' shows how to use it\n"
	run(App{}, "", nil, "serve", "--limit", "cpu-ms=0").fails(t, exitUsage,
		`atoll: error: invalid argument "cpu-ms=0" for "--limit" flag: cpu-ms=0: it must be a whole number from 1 to 300000`+help)
	run(App{}, "", nil, "serve", "--limit", "cpu-ms").fails(t, exitUsage,
		`atoll: error: invalid argument "cpu-ms" for "--limit" flag: "cpu-ms" is not NAME=VALUE`+help)
	for _, s := range []said{
		run(App{}, "", nil, "serve", "--limit", "cpu=50"),
		run(App{}, "", map[string]string{"ATOLL_LIMIT": "cpu=50"}, "serve"),
		run(App{}, "", map[string]string{"ATOLL_LIMIT": "cpu=50"}, "serve", "--limit", "cpu-ms=50"),
	} {
		if s.code != exitUsage || !strings.Contains(s.err, `"cpu"; the limits are cpu-ms, startup-cpu-ms, `) {
			t.Errorf("%+v", s)
		}
	}
}

// docs/limits.md is written by hand, and its table of the node's limits has each with its default and its bounds.
func TestLimitsAreDocumented(t *testing.T) {
	b, err := os.ReadFile("../../docs/limits.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range atoll.AllNodeLimits() {
		if n.Soon {
			continue
		}
		value := n.Value(atoll.DefaultLimits())
		if n.Name == "processes" {
			value = "cores"
		}
		row := "| `" + n.Name + "` | " + value + " | " + n.Bounds() + " | "
		if !strings.Contains(string(b), row) {
			t.Errorf("docs/limits.md has no row that begins with %s", row)
		}
	}
}
