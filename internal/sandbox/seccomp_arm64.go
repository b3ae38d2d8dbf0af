package sandbox

import "golang.org/x/sys/unix"

// auditArch is also what keeps the 32-bit calls out.
const auditArch = unix.AUDIT_ARCH_AARCH64

const sysFstatat = unix.SYS_FSTATAT

// legacyRules are calls that only this architecture still has.
func legacyRules() []rule {
	return []rule{
		allow("getrlimit", unix.SYS_GETRLIMIT),
	}
}
