package sandbox

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What Landlock lets a path be used for (landlock(7)).
const (
	accessRead    = unix.LANDLOCK_ACCESS_FS_READ_FILE
	accessRun     = accessRead | unix.LANDLOCK_ACCESS_FS_EXECUTE
	accessDevice  = accessRead | unix.LANDLOCK_ACCESS_FS_WRITE_FILE
	accessFile    = accessRead | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE
	accessList    = unix.LANDLOCK_ACCESS_FS_READ_DIR
	accessReadAll = accessRead | accessList
	accessChange  = accessFile | accessList | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_REFER
)

// domain is a set of Landlock rules under construction; those of the whole file system are denied to begin with, as are
// TCP, signals to others and abstract Unix sockets.
type domain struct {
	fd      int
	handled uint64
}

// landlockABI is the version of Landlock that the kernel has, 0 for none (landlock_create_ruleset(2)).
func landlockABI() int {
	v, _, e := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if e != 0 {
		return 0
	}
	return int(v)
}

// newDomain handles all that this kernel knows and the constants above or nobody may use. Each version of the ABI knows
// more than the one before it, and takes a longer structure.
func newDomain(abi int) (*domain, error) {
	attr := unix.LandlockRulesetAttr{Access_fs: unix.LANDLOCK_ACCESS_FS_MAKE_SYM<<1 - 1}
	size := uintptr(8)
	if abi >= 2 {
		attr.Access_fs |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if abi >= 3 {
		attr.Access_fs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi >= 4 {
		attr.Access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
		size = 16
	}
	if abi >= 5 {
		attr.Access_fs |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if abi >= 6 {
		attr.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
		size = 24
	}
	fd, _, e := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if e != 0 {
		return nil, fmt.Errorf("create Landlock ruleset: %w", e)
	}
	return &domain{int(fd), attr.Access_fs}, nil
}

// allow grants access to path and, if it is a directory, to what is below it.
func (d *domain) allow(path string, access uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("allow %s: %w", path, err)
	}
	defer unix.Close(fd)
	attr := unix.LandlockPathBeneathAttr{Allowed_access: access & d.handled, Parent_fd: int32(fd)}
	_, _, e := unix.RawSyscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(d.fd), unix.LANDLOCK_RULE_PATH_BENEATH,
		uintptr(unsafe.Pointer(&attr)), 0, 0, 0)
	if e != 0 {
		return fmt.Errorf("allow %s: %w", path, e)
	}
	return nil
}

// enter confines the calling thread for good.
func (d *domain) enter() error {
	defer unix.Close(d.fd)
	if _, _, e := unix.RawSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(d.fd), 0, 0); e != 0 {
		return fmt.Errorf("enter Landlock domain: %w", e)
	}
	return nil
}

// confine lets the child use what it was given and no more, even if its root should turn out to hold more. It does
// nothing on a kernel without Landlock; Probe tells.
func confine(mounts []mount) error {
	abi := landlockABI()
	if abi == 0 {
		return nil
	}
	d, err := newDomain(abi)
	if err != nil {
		return err
	}
	errs := []error{d.allow("/", accessList), d.allow("/tmp", accessChange)}
	for _, m := range mounts {
		access, err := m.access()
		if errors.Is(err, unix.ENOENT) && m.Optional {
			continue
		}
		errs = append(errs, err, d.allow(m.Guest, access))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("make Landlock rules: %w", err)
	}
	return d.enter()
}

// access is what Landlock is to grant for m, as seen from inside.
func (m mount) access() (uint64, error) {
	var st unix.Stat_t
	if err := unix.Lstat(m.Guest, &st); err != nil {
		return 0, err
	}
	dir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	switch {
	case m.Run:
		return accessRun, nil
	case m.Device:
		return accessDevice, nil
	case dir && m.Writable:
		return accessChange, nil
	case dir:
		return accessReadAll, nil
	case m.Writable:
		return accessFile, nil
	}
	return accessRead, nil
}
