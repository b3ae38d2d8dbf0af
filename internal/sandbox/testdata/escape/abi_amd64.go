package main

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// getpid32 makes the system call getpid as a 32-bit program would.
func getpid32() uint32

func otherABI() error {
	if int(getpid32()) == os.Getpid() {
		return nil
	}
	return errors.New("refused")
}

func x32() error { return call(unix.SYS_GETPID | 1<<30)() }
