package workerd_test

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"atoll.dev/atoll/internal/workerd"
	"atoll.dev/atoll/internal/workerd/workerdtest"
)

// makeTree makes files in a new directory: symbolic links where the content starts with "-> ".
func makeTree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, link := strings.CutPrefix(content, "-> "); link {
			err = os.Symlink(target, path)
		} else {
			err = os.WriteFile(path, []byte(content), 0o777)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// pkg is the npm package of this machine.
var pkg = map[string]string{"amd64": "@cloudflare/workerd-linux-64", "arm64": "@cloudflare/workerd-linux-arm64"}[runtime.GOARCH]

func TestFind(t *testing.T) {
	real := workerdtest.Binary(t)
	if _, err := time.Parse(time.DateOnly, real.Version); err != nil || !filepath.IsAbs(real.Path) {
		t.Errorf("found %+v", real)
	}
	for name, c := range map[string]struct {
		files map[string]string
		dir   string // of the executable; else path is given
		path  string
	}{
		"beside":       {files: map[string]string{"bin/workerd": "-> " + real.Path}, dir: "bin"},
		"engine-above": {files: map[string]string{"a/engine/node_modules/" + pkg + "/bin/workerd": "-> " + real.Path, "a/bin/atoll": ""}, dir: "a/bin"},
		"engine-here":  {files: map[string]string{"engine/node_modules/" + pkg + "/bin/workerd": "-> " + real.Path}, dir: "."},
		"path":         {files: map[string]string{"other": "-> " + real.Path}, path: "other"},
		"npm-launcher": {files: map[string]string{
			"node_modules/.bin/workerd":             "-> ../workerd/bin/workerd",
			"node_modules/workerd/bin/workerd":      "#!/usr/bin/env node\n",
			"node_modules/" + pkg + "/bin/workerd":  "-> " + real.Path,
			"node_modules/workerd/bin/package.json": "{}",
		}, path: "node_modules/.bin/workerd"},
	} {
		t.Run(name, func(t *testing.T) {
			root := makeTree(t, c.files)
			find := func() (workerd.Binary, error) { return workerd.FindFrom(filepath.Join(root, c.dir)) }
			if c.path != "" {
				find = func() (workerd.Binary, error) { return workerd.Find(filepath.Join(root, c.path)) }
			}
			if got, err := find(); err != nil || got != real {
				t.Errorf("got %+v, %v\nwant %+v", got, err, real)
			}
		})
	}
}

// TestFindRefuses checks that each failure names its cause and a way out.
func TestFindRefuses(t *testing.T) {
	exe, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	foreign := bytes.Clone(exe)
	foreign[18], foreign[19] = 8, 0 // e_machine: MIPS
	root := makeTree(t, map[string]string{
		"text": "#!/bin/sh\n", "foreign": string(foreign), "empty": "", "true": "-> /bin/true", "dir/file": "",
	})
	for path, want := range map[string]string{
		"nothing": "no such file or directory",
		"text":    "not a Linux executable",
		"empty":   "not a Linux executable",
		"dir":     "is a directory",
		"foreign": "an executable for EM_MIPS, not for " + runtime.GOARCH,
		"true":    "which is not workerd and a date",
	} {
		t.Run(path, func(t *testing.T) {
			_, err := workerd.Find(filepath.Join(root, path))
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "--workerd PATH") {
				t.Errorf("got %v, want %q and a way out", err, want)
			}
		})
	}
	_, err = workerd.FindFrom(root)
	if err == nil || !strings.Contains(err.Error(), "make build") {
		t.Errorf("an empty directory: %v", err)
	}
}
