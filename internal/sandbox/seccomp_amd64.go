package sandbox

import "golang.org/x/sys/unix"

// auditArch is also what keeps the 32-bit calls out. Those of x32 have a bit in their number that no rule has.
const auditArch = unix.AUDIT_ARCH_X86_64

const sysFstatat = unix.SYS_NEWFSTATAT

// legacyRules are calls that only this architecture still has.
func legacyRules() []rule {
	return []rule{
		allow("open", unix.SYS_OPEN),
		allow("stat", unix.SYS_STAT),
		allow("lstat", unix.SYS_LSTAT),
		allow("access", unix.SYS_ACCESS),
		allow("readlink", unix.SYS_READLINK),
		allow("unlink", unix.SYS_UNLINK),
		allow("mkdir", unix.SYS_MKDIR),
		allow("rmdir", unix.SYS_RMDIR),
		allow("rename", unix.SYS_RENAME),
		allow("pipe", unix.SYS_PIPE),
		allow("dup2", unix.SYS_DUP2),
		allow("poll", unix.SYS_POLL),
		allow("select", unix.SYS_SELECT),
		allow("epoll_wait", unix.SYS_EPOLL_WAIT),
		allow("arch_prctl", unix.SYS_ARCH_PRCTL),
		allow("time", unix.SYS_TIME),
		allow("getrlimit", unix.SYS_GETRLIMIT),
	}
}
