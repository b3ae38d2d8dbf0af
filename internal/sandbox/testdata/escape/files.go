package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

var files = []attempt{
	{"read-host-file", some(open("/etc/passwd", unix.O_RDONLY), open("/etc/hostname", unix.O_RDONLY), open("/proc/version", unix.O_RDONLY),
		open("/sys/kernel", unix.O_RDONLY), open("/root", unix.O_RDONLY), open("/home", unix.O_RDONLY))},
	{"read-beyond-root", some(open("/../etc/passwd", unix.O_RDONLY), open("../../../../etc/passwd", unix.O_RDONLY))},
	{"read-own-proc", some(open("/proc/self/environ", unix.O_RDONLY), open("/proc/self/maps", unix.O_RDONLY), open("/proc/self/mem", unix.O_RDWR),
		open("/proc/self/mountinfo", unix.O_RDONLY), open("/proc/self/fd", unix.O_RDONLY))},
	{"read-other-proc", some(open("/proc/1/environ", unix.O_RDONLY), open("/proc/2/environ", unix.O_RDONLY), open("/proc/1/root", unix.O_RDONLY))},
	{"list-unexpected", listUnexpected},
	{"inherit-descriptor", inheritDescriptor},
	{"write-root", open("/x", unix.O_CREAT|unix.O_WRONLY)},
	{"write-run", open("/run/x", unix.O_CREAT|unix.O_WRONLY)},
	{"write-dev", open("/dev/x", unix.O_CREAT|unix.O_WRONLY)},
	{"write-program", open("/bin/escape", unix.O_WRONLY)},
	{"write-read-only-bind", open("/given/file", unix.O_WRONLY)},
	{"create-in-read-only-bind", open("/given/new", unix.O_CREAT|unix.O_WRONLY)},
	{"climb-out-of-bind", open("/given/../../etc/passwd", unix.O_RDONLY)},
	{"follow-symlink-of-bind", open("/given/link", unix.O_RDONLY)},
	{"make-device", func() error { return unix.Mknod("/tmp/mem", unix.S_IFCHR|0o600, 1<<8|1) }},
	{"make-pipe", func() error { return unix.Mkfifo("/tmp/pipe", 0o600) }},
	{"open-kernel-memory", some(open("/dev/mem", unix.O_RDONLY), open("/dev/kmsg", unix.O_RDONLY), open("/dev/kvm", unix.O_RDWR))},
	{"open-terminal", some(open("/dev/tty", unix.O_RDWR), open("/dev/ptmx", unix.O_RDWR), open("/dev/console", unix.O_RDWR))},
	{"type-into-terminal", func() error {
		c := byte('x')
		return call(unix.SYS_IOCTL, 0, unix.TIOCSTI, uintptr(unsafe.Pointer(&c)))()
	}},
	{"change-owner-of-root", func() error { return unix.Fchownat(unix.AT_FDCWD, "/", 1, 1, 0) }},
	{"chmod-setuid", func() error { return unix.Fchmodat(unix.AT_FDCWD, "/bin/escape", 0o4777, 0) }},
	{"chroot", func() error { return unix.Chroot("/tmp") }},
	{"open-by-handle", func() error {
		_, err := unix.OpenByHandleAt(unix.AT_FDCWD, unix.NewFileHandle(1, make([]byte, 8)), 0)
		return err
	}},
	{"watch-files", func() error { _, err := unix.InotifyInit1(0); return err }},
	{"watch-mounts", func() error { _, err := unix.FanotifyInit(0, 0); return err }},
}

// listUnexpected succeeds where the file system holds anything that was not put there.
func listUnexpected() error {
	known := map[string]bool{"/": true, "/bin": true, "/bin/escape": true, "/dev": true, "/dev/null": true, "/dev/zero": true,
		"/dev/random": true, "/dev/urandom": true, "/given": true, "/given/file": true, "/given/link": true, "/tmp": true, "/run": true,
		"/run/out.sock": true, "/proc": true, "/proc/self": true, "/proc/self/exe": true}
	var found []string
	err := filepath.WalkDir("/", func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !known[path] {
			found = append(found, path)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if found != nil {
		fmt.Println("found", found)
		return nil
	}
	return errors.New("nothing there")
}

// inheritDescriptor succeeds where a descriptor is open that was not passed on purpose: 0 to 2 are, and Go's own poller.
func inheritDescriptor() error {
	for fd := 3; fd < 4096; fd++ {
		var st unix.Stat_t
		if unix.Fstat(fd, &st) == nil {
			fmt.Println("descriptor", fd, "is open, of mode", st.Mode)
			return nil
		}
	}
	return errors.New("none is open")
}

var programs = []attempt{
	{"execute-shell", some(execute("/bin/sh"), execute("/bin/ls"), execute("/usr/bin/env"))},
	{"execute-from-tmp", func() error {
		if err := copySelf("/tmp/again"); err != nil {
			return err
		}
		return execute("/tmp/again")()
	}},
	{"execute-from-bind", execute("/given/file")},
	{"execute-script", func() error {
		if err := os.WriteFile("/tmp/script", []byte("#!/bin/escape list\n"), 0o700); err != nil {
			return err
		}
		return execute("/tmp/script")()
	}},
	{"execute-memory", func() error {
		fd, err := unix.MemfdCreate("x", 0)
		if err != nil {
			return err
		}
		return call(unix.SYS_EXECVEAT, uintptr(fd), ptr(""), 0, 0, unix.AT_EMPTY_PATH)()
	}},
	{"execveat", call(unix.SYS_EXECVEAT, ^uintptr(99), ptr("/bin/sh"), 0, 0, 0)},
	{"map-code-from-tmp", func() error {
		if err := copySelf("/tmp/code"); err != nil {
			return err
		}
		fd, err := unix.Open("/tmp/code", unix.O_RDONLY, 0)
		if err != nil {
			return err
		}
		_, err = unix.Mmap(fd, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE)
		return err
	}},
}

func ptr(s string) uintptr {
	p, _ := unix.BytePtrFromString(s)
	return uintptr(unsafe.Pointer(p))
}

func execute(path string) func() error {
	return func() error { return unix.Exec(path, []string{path, "-c", "exit 0"}, nil) }
}

func copySelf(to string) error {
	from, err := os.Open("/bin/escape")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o700)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, from); err != nil {
		return err
	}
	return f.Close()
}

var mounts = []attempt{
	{"mount-tmpfs", func() error { return unix.Mount("tmpfs", "/tmp", "tmpfs", 0, "") }},
	{"mount-proc", func() error { return unix.Mount("proc", "/tmp", "proc", 0, "") }},
	{"mount-bind", func() error { return unix.Mount("/bin", "/tmp", "", unix.MS_BIND, "") }},
	{"remount-root", func() error { return unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND, "") }},
	{"unmount-root", func() error { return unix.Unmount("/", unix.MNT_DETACH) }},
	{"unmount-bind", func() error { return unix.Unmount("/given", 0) }},
	{"pivot-root", func() error { return unix.PivotRoot("/tmp", "/tmp") }},
	{"open-tree", func() error { _, err := unix.OpenTree(unix.AT_FDCWD, "/", unix.OPEN_TREE_CLONE); return err }},
	{"open-file-system", func() error { _, err := unix.Fsopen("tmpfs", 0); return err }},
	{"pick-file-system", func() error { _, err := unix.Fspick(unix.AT_FDCWD, "/", 0); return err }},
	{"set-mount-attributes", func() error { return unix.MountSetattr(unix.AT_FDCWD, "/", 0, &unix.MountAttr{Attr_clr: 1}) }},
	{"move-mount", func() error { return unix.MoveMount(unix.AT_FDCWD, "/given", unix.AT_FDCWD, "/tmp", 0) }},
}
