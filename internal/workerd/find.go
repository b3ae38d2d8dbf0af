package workerd

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Binary is a workerd that runs on this machine.
type Binary struct {
	Path    string // absolute, without symbolic links; the ELF file itself, never npm's launcher
	Version string // the date it was made, as YYYY-MM-DD
}

// Find returns the workerd at path. Where path is empty it looks beside the running executable, then for an npm
// installation in "engine" in that directory or in one above it.
func Find(path string) (Binary, error) {
	if path != "" {
		return open(path)
	}
	exe, err := os.Executable()
	if err != nil {
		return Binary{}, fmt.Errorf("find workerd: %w", err)
	}
	if exe, err = filepath.EvalSymlinks(exe); err != nil {
		return Binary{}, fmt.Errorf("find workerd: %w", err)
	}
	return findFrom(filepath.Dir(exe))
}

func findFrom(dir string) (Binary, error) {
	candidates := []string{filepath.Join(dir, "workerd")}
	for d := dir; ; d = filepath.Dir(d) {
		candidates = append(candidates, filepath.Join(d, "engine/node_modules", npmPackage(), "bin/workerd"))
		if d == filepath.Dir(d) {
			break
		}
	}
	for _, c := range candidates {
		if info, err := os.Stat(c); err == nil && info.Mode().IsRegular() {
			return open(c)
		}
	}
	return Binary{}, fmt.Errorf("find workerd: it is neither in %s nor in engine/node_modules there or above; run `make build`, or name it with --workerd PATH", dir)
}

// npmPackage is the npm package that holds the binary of this machine. The package "workerd" only launches it.
func npmPackage() string {
	arch := map[string]string{"amd64": "64"}[runtime.GOARCH]
	if arch == "" {
		arch = runtime.GOARCH
	}
	return "@cloudflare/workerd-" + runtime.GOOS + "-" + arch
}

// open checks that path is, or launches, an executable of this machine and asks it for its version.
func open(path string) (Binary, error) {
	real, err := resolve(path)
	if err == nil {
		var version string
		if version, err = readVersion(real); err == nil {
			return Binary{Path: real, Version: version}, nil
		}
	}
	return Binary{}, fmt.Errorf("workerd at %s: %w; run `make build`, or name another with --workerd PATH", path, err)
}

// resolve follows symbolic links, and npm's launcher to the executable in the package next to it.
func resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", errors.Unwrap(err) // without the path, which the caller gives
	}
	err = checkELF(real)
	if err == nil {
		return real, nil
	}
	beside := filepath.Join(filepath.Dir(real), "../..", npmPackage(), "bin/workerd")
	if beside, linkErr := filepath.EvalSymlinks(beside); linkErr == nil && checkELF(beside) == nil {
		return beside, nil
	}
	return "", err
}

func checkELF(path string) error {
	f, err := elf.Open(path)
	var format *elf.FormatError
	switch {
	case errors.As(err, &format), errors.Is(err, io.EOF):
		return errors.New("not a Linux executable")
	case err != nil:
		return err
	}
	defer f.Close()
	machine := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[runtime.GOARCH]
	if f.Machine != machine {
		return fmt.Errorf("an executable for %s, not for %s", f.Machine, runtime.GOARCH)
	}
	return nil
}

// readVersion runs the binary, which prints "workerd 2026-11-17".
func readVersion(path string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.Env = []string{}
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) { // a missing library is named there
			return "", fmt.Errorf("it does not run: %w: %s", err, strings.TrimSpace(string(exit.Stderr)))
		}
		return "", fmt.Errorf("it does not run: %w", err)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	version, ok := strings.CutPrefix(line, "workerd ")
	if _, err := time.Parse(time.DateOnly, version); !ok || err != nil {
		return "", fmt.Errorf("it calls itself %q, which is not workerd and a date", line)
	}
	return version, nil
}
