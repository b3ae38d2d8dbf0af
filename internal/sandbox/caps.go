package sandbox

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// The switches of capabilities(7), from linux/securebits.h; the lock of each is the bit above it.
const (
	secureNoRoot           = 1 << 0
	secureNoSetuidFixup    = 1 << 2
	secureKeepCaps         = 1 << 4
	secureNoCapAmbientRise = 1 << 6
)

// securebits keep user id 0 from meaning anything, for good.
const securebits = (secureNoRoot|secureNoSetuidFixup|secureNoCapAmbientRise)*3 | secureKeepCaps<<1

// dropCaps gives up every capability of the calling thread, and the ways to have one again.
func dropCaps() error {
	for c := range uintptr(64) {
		err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		if err == unix.EINVAL { // past the last one this kernel knows
			break
		}
		if err != nil {
			return fmt.Errorf("drop capability %d from bounding set: %w", c, err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_SECUREBITS, securebits, 0, 0, 0); err != nil {
		return fmt.Errorf("set securebits: %w", err)
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("clear ambient capabilities: %w", err)
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&hdr, &none[0]); err != nil {
		return fmt.Errorf("clear capabilities: %w", err)
	}
	return nil
}
