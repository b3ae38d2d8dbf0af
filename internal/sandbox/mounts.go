package sandbox

import (
	"errors"
	"fmt"
	"path"
	"strconv"

	"golang.org/x/sys/unix"
)

// newRoot is where the child's root is put together. Any directory that every host has will do, save /proc, which the
// work goes through.
const newRoot = "/dev"

// root is what the child's root will hold, each thing open already.
type root struct {
	mounts []mount
	fds    []int // O_PATH; -1 where an optional one is missing
}

// openMounts opens what will be bound, as the node's user, whose directories the child's user could not pass.
func openMounts(mounts []mount) (*root, error) {
	// Nothing done here may spread to the host.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, fmt.Errorf("make mounts private: %w", err)
	}
	r := &root{mounts: mounts}
	for _, m := range mounts {
		fd, err := unix.Open(m.Host, unix.O_PATH|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.ENOENT) && m.Optional {
			fd, err = -1, nil
		}
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", m.Host, err)
		}
		r.fds = append(r.fds, fd)
	}
	return r, nil
}

// enter builds the root and makes it the only file system there is. It is an empty tmpfs, not a directory of the host,
// and read-only in the end.
func (r *root) enter(pl plan) error {
	if err := unix.Mount("tmpfs", newRoot, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=1m,nr_inodes=1k,mode=755"); err != nil {
		return fmt.Errorf("mount root: %w", err)
	}
	for i, m := range r.mounts {
		if r.fds[i] < 0 {
			continue
		}
		if err := bind(r.fds[i], newRoot+m.Guest, m); err != nil {
			return fmt.Errorf("bind %s at %s: %w", m.Host, m.Guest, err)
		}
		unix.Close(r.fds[i])
	}
	if err := makeLinks(pl.Links); err != nil {
		return err
	}
	if err := mountTmp(pl.TmpBytes); err != nil {
		return err
	}
	return pivot()
}

// makeLinks makes symbolic links, by name.
func makeLinks(links map[string]string) error {
	for name, target := range links {
		if err := makeDirs(path.Dir(newRoot + name)); err != nil {
			return fmt.Errorf("make link %s: %w", name, err)
		}
		if err := unix.Symlink(target, newRoot+name); err != nil {
			return fmt.Errorf("make link %s: %w", name, err)
		}
	}
	return nil
}

// mountTmp gives the child a scratch directory that is its own, bounded, and gone with it.
func mountTmp(size uint64) error {
	if err := unix.Mkdir(newRoot+"/tmp", 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("make /tmp: %w", err)
	}
	data := "mode=700,nr_inodes=1k,size=" + strconv.FormatUint(size, 10)
	if err := unix.Mount("tmpfs", newRoot+"/tmp", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, data); err != nil {
		return fmt.Errorf("mount /tmp: %w", err)
	}
	return nil
}

// pivot leaves the host's root behind: with both arguments the same directory the old root ends up on top of the new
// one, whence it is detached (pivot_root(2)).
func pivot() error {
	if err := unix.Chdir(newRoot); err != nil {
		return fmt.Errorf("enter root: %w", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("detach host root: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("enter root: %w", err)
	}
	const flags = unix.MS_REMOUNT | unix.MS_BIND | unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("", "/", "", flags, ""); err != nil {
		return fmt.Errorf("make root read-only: %w", err)
	}
	return nil
}

// bind puts what fd refers to at target, with as few rights as m needs.
func bind(fd int, target string, m mount) error {
	if err := mountPoint(fd, target); err != nil {
		return err
	}
	// By descriptor: the path may lead through directories closed to the child's user, and may have changed.
	source := "/proc/self/fd/" + strconv.Itoa(fd)
	if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(target, &st); err != nil {
		return err
	}
	flags := uintptr(unix.MS_REMOUNT | unix.MS_BIND | unix.MS_NOSUID)
	if !m.Writable || m.Device {
		flags |= unix.MS_RDONLY
	}
	if !m.Device {
		flags |= unix.MS_NODEV
	}
	if !m.Exec {
		flags |= unix.MS_NOEXEC
	}
	if err := unix.Mount("", target, "", flags|lockedFlags(st.Flags), ""); err != nil {
		return fmt.Errorf("restrict: %w", err)
	}
	return nil
}

// lockedFlags are the flags that a mount has from the host and that a user namespace may not take away, so a remount has
// to name them (mount_namespaces(7)).
func lockedFlags(have int64) (flags uintptr) {
	for st, ms := range map[int64]uintptr{
		unix.ST_RDONLY: unix.MS_RDONLY, unix.ST_NODEV: unix.MS_NODEV, unix.ST_NOEXEC: unix.MS_NOEXEC,
		unix.ST_NOATIME: unix.MS_NOATIME, unix.ST_NODIRATIME: unix.MS_NODIRATIME, unix.ST_RELATIME: unix.MS_RELATIME,
	} {
		if have&st != 0 {
			flags |= ms
		}
	}
	return flags
}

// mountPoint makes a directory or an empty file at target, as fd is one or the other, and the directories above.
func mountPoint(fd int, target string) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if err := makeDirs(path.Dir(target)); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return makeDirs(target)
	}
	f, err := unix.Open(target, unix.O_CREAT|unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o444)
	if err != nil {
		return err
	}
	return unix.Close(f)
}

func makeDirs(dir string) error {
	err := unix.Mkdir(dir, 0o755)
	if errors.Is(err, unix.ENOENT) {
		if err := makeDirs(path.Dir(dir)); err != nil {
			return err
		}
		err = unix.Mkdir(dir, 0o755)
	}
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}
