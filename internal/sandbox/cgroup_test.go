package sandbox

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeTree is a cgroup v2 tree of plain files: this machine may have none that is delegated.
func fakeTree(t *testing.T, files map[string]string) string {
	t.Helper()
	mount := t.TempDir()
	for name, text := range files {
		path := filepath.Join(mount, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return mount
}

func TestFindCgroups(t *testing.T) {
	tree := map[string]string{
		"ours/cgroup.controllers": "cpuset cpu io memory pids\n", "ours/cgroup.procs": "7\n",
		"shared/cgroup.controllers": "cpu memory pids\n", "shared/cgroup.procs": "7\n8\n",
		"bare/cgroup.controllers": "cpu\n", "bare/cgroup.procs": "7\n",
	}
	for _, c := range []struct{ name, self, want string }{
		{"delegated", "0::/ours\n", ""},
		{"hybrid", "4:memory:/x\n0::/ours\n", ""},
		{"shared", "0::/shared\n", "other processes share"},
		{"without-controllers", "0::/bare\n", "controller memory is not available"},
		{"version-one", "4:memory:/x\n", "no cgroup v2"},
		{"divided", "0::/ours/node\n", ""},
		{"gone", "0::/gone\n", "no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			mount := fakeTree(t, tree)
			got, err := findCgroups(mount, c.self, 7)
			if c.want == "" {
				if err != nil || got.base != filepath.Join(mount, "ours") {
					t.Errorf("got %v, %v", got, err)
				}
			} else if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestCgroupLimits(t *testing.T) {
	mount := fakeTree(t, map[string]string{
		"cgroup.subtree_control": "", "node/cgroup.procs": "",
		"child-1/cpu.weight": "", "child-1/memory.max": "", "child-1/pids.max": "", "child-1/memory.swap.max": "",
	})
	c := &cgroups{base: mount}
	if err := c.divide(7); err != nil {
		t.Fatal(err)
	}
	if err := setLimits(filepath.Join(mount, "child-1"), Limits{CPUWeight: 50, Memory: 1000, Threads: 9}); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"node/cgroup.procs": "7", "cgroup.subtree_control": "+cpu +memory +pids",
		"child-1/cpu.weight": "50", "child-1/memory.max": "1000", "child-1/memory.swap.max": "0", "child-1/pids.max": "9",
	} {
		if got, err := os.ReadFile(filepath.Join(mount, file)); err != nil || string(got) != want {
			t.Errorf("%s holds %q, want %q; %v", file, got, want, err)
		}
	}
}

// TestCgroupUnmade uses that plain directories, unlike the kernel's, come without the files of a group.
func TestCgroupUnmade(t *testing.T) {
	c := &cgroups{base: t.TempDir()}
	if _, err := c.make(Limits{CPUWeight: 50}); err == nil {
		t.Error("made a group that cannot be limited")
	}
	if left, _ := filepath.Glob(filepath.Join(c.base, "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
