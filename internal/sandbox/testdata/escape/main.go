// Command escape runs in a sandbox in workerd's place and tries one way out of it, named by its first argument. It exits
// with 0 if that worked and 10 if it was refused; the kernel may kill it first.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"
)

const refused = 10

// attempt is one way out; nil says that it worked.
type attempt struct {
	name string
	try  func() error
}

func main() {
	runtime.LockOSThread()
	all := slices.Concat(control, files, programs, mounts, sockets, processes, namespaces, kernel, privileges, limits)
	if len(os.Args) > 1 && os.Args[1] == "list" {
		for _, a := range all[len(control):] {
			fmt.Println(a.name)
		}
		return
	}
	i := slices.IndexFunc(all, func(a attempt) bool { return a.name == os.Args[1] })
	if i < 0 {
		fmt.Println("no such attempt")
		os.Exit(3)
	}
	if err := all[i].try(); err != nil {
		fmt.Println(err)
		os.Exit(refused)
	}
	fmt.Println("escaped")
}

// control is what must work, lest a refusal mean nothing.
var control = []attempt{
	{"control", func() error {
		if os.Getpid() != 1 {
			return errors.New("not alone")
		}
		if err := os.WriteFile("/tmp/a", []byte("a"), 0o600); err != nil {
			return err
		}
		if err := os.WriteFile("/dev/null", []byte("a"), 0); err != nil {
			return err
		}
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		if _, err := unix.Write(fds[0], []byte("a")); err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		return unix.Connect(fd, &unix.SockaddrUnix{Name: "/run/out.sock"})
	}},
}

// call makes a system call of which only the refusal matters.
func call(nr uintptr, args ...uintptr) func() error {
	return func() error {
		var a [6]uintptr
		copy(a[:], args)
		_, _, e := unix.RawSyscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5])
		if e != 0 {
			return e
		}
		return nil
	}
}

func open(path string, flags int) func() error {
	return func() error {
		_, err := unix.Open(path, flags, 0o600)
		return err
	}
}

// some succeeds where one of the attempts does.
func some(tries ...func() error) func() error {
	return func() error {
		var errs []error
		for _, try := range tries {
			err := try()
			if err == nil {
				return nil
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}
}
