package sandbox

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroups is the part of the cgroup v2 tree that the host delegates to the node: one group a child, beside one for the
// node itself, since a group that has controllers may hold no process of its own
// (https://docs.kernel.org/admin-guide/cgroup-v2.html, "No Internal Process Constraint").
type cgroups struct{ base string }

// The names of the groups below the node's own.
const (
	nodeGroup  = "node"
	childGroup = "child-"
)

// controllers are what a delegation must cover to be of use.
var controllers = []string{"cpu", "memory", "pids"}

// findCgroups returns the node's own group where that is delegated to it, else an error that says why not. mount is where
// the cgroup2 file system is, self the contents of /proc/self/cgroup.
func findCgroups(mount, self string, pid int) (*cgroups, error) {
	path, ok := "", false
	for line := range strings.Lines(self) {
		if path, ok = strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			break
		}
	}
	if !ok {
		return nil, errors.New("no cgroup v2 hierarchy")
	}
	if filepath.Base(path) == nodeGroup { // divided before, by this process or the one it replaced
		path = filepath.Dir(path)
	}
	base := filepath.Join(mount, path)
	have, err := os.ReadFile(filepath.Join(base, "cgroup.controllers"))
	if err != nil {
		return nil, err
	}
	for _, c := range controllers {
		if !slices.Contains(strings.Fields(string(have)), c) {
			return nil, fmt.Errorf("controller %s is not available in %s", c, base)
		}
	}
	if err := alone(base, pid); err != nil {
		return nil, err
	}
	return &cgroups{base: base}, nil
}

// alone is an error where other processes share the group: it is then a session's, say, and not ours to divide.
func alone(base string, pid int) error {
	procs, err := os.ReadFile(filepath.Join(base, "cgroup.procs"))
	if err != nil {
		return err
	}
	for p := range strings.FieldsSeq(string(procs)) {
		if p != strconv.Itoa(pid) {
			return fmt.Errorf("other processes share the group %s", base)
		}
	}
	return nil
}

// delegated tells whether the group is the node's to divide: systemd marks those it gave away
// (https://systemd.io/CGROUP_DELEGATION/), an ordinary user can write to no other, and in a container of its own the
// group is the root of what can be seen.
func delegated(base, mount string) bool {
	for _, name := range []string{"user.delegate", "trusted.delegate"} {
		b := make([]byte, 8)
		if n, err := unix.Getxattr(base, name, b); err == nil && string(b[:n]) == "1" {
			return true
		}
	}
	if unix.Access(filepath.Join(base, "cgroup.subtree_control"), unix.W_OK) != nil {
		return false
	}
	_, err := os.Stat(filepath.Join(base, "cgroup.type")) // which the root of the machine does not have
	return os.Geteuid() != 0 || base == mount && err == nil
}

// divide moves the node into a group of its own and turns the controllers on for its siblings.
func (c *cgroups) divide(pid int) error {
	left, err := filepath.Glob(filepath.Join(c.base, childGroup+"*"))
	if err != nil {
		return err
	}
	for _, dir := range left { // of a node that was killed; one with a process in it stays
		_ = os.Remove(dir)
	}
	node := filepath.Join(c.base, nodeGroup)
	if err := os.Mkdir(node, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if err := writeControl(node, "cgroup.procs", strconv.Itoa(pid)); err != nil {
		return err
	}
	return writeControl(c.base, "cgroup.subtree_control", "+"+strings.Join(controllers, " +"))
}

// cgroup is one child's.
type cgroup struct {
	dir string
	fd  *os.File // for clone3 with CLONE_INTO_CGROUP: the child is in the group from its first instruction
}

// make sets a group up with the limits of l.
func (c *cgroups) make(l Limits) (*cgroup, error) {
	dir, err := os.MkdirTemp(c.base, childGroup)
	if err != nil {
		return nil, fmt.Errorf("make cgroup: %w", err)
	}
	fd, err := os.Open(dir)
	if err == nil {
		err = setLimits(dir, l)
	}
	if err != nil {
		return nil, errors.Join(err, (&cgroup{dir, fd}).remove())
	}
	return &cgroup{dir, fd}, nil
}

// setLimits writes the limits of l to the group at dir.
func setLimits(dir string, l Limits) error {
	for _, set := range []struct {
		file  string
		value uint64
	}{
		{"cpu.weight", l.CPUWeight}, {"memory.max", l.Memory}, {"pids.max", cmp.Or(l.Threads, defaultThreads)},
	} {
		if set.value == 0 {
			continue
		}
		if err := writeControl(dir, set.file, strconv.FormatUint(set.value, 10)); err != nil {
			return err
		}
	}
	if l.Memory == 0 {
		return nil
	}
	// A kernel without swap accounting has no such file.
	if err := writeControl(dir, "memory.swap.max", "0"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// remove takes the group away once its process is gone. It may be called on nil.
func (g *cgroup) remove() error {
	if g == nil {
		return nil
	}
	g.fd.Close()
	if err := os.Remove(g.dir); err != nil {
		return fmt.Errorf("remove cgroup: %w", err)
	}
	return nil
}

// writeControl writes to a file that exists: the kernel makes those of a group.
func writeControl(dir, file, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("set cgroup limit: %w", err)
	}
	defer f.Close()
	if _, err := f.WriteString(value); err != nil {
		return fmt.Errorf("set cgroup limit: %w", err)
	}
	return nil
}

// ownCgroups finds and divides the node's group.
func ownCgroups() (*cgroups, error) {
	mount := "/sys/fs/cgroup"
	var st unix.Statfs_t
	if err := unix.Statfs(mount, &st); err != nil || st.Type != unix.CGROUP2_SUPER_MAGIC {
		return nil, errors.New("no cgroup v2 hierarchy at " + mount)
	}
	self, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	c, err := findCgroups(mount, string(self), os.Getpid())
	if err != nil {
		return nil, err
	}
	if !delegated(c.base, mount) {
		return nil, fmt.Errorf("the group %s is not delegated to the node", c.base)
	}
	return c, c.divide(os.Getpid())
}
