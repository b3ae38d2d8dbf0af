package sandbox

import (
	"slices"

	"golang.org/x/sys/unix"
)

// namespaceFlags are those of clone(2) that make a namespace.
const namespaceFlags = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS |
	unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP | unix.CLONE_NEWTIME

// ioctl requests of asm-generic/ioctls.h, the same on both architectures.
const (
	fionbio = 0x5421
	fioclex = 0x5451
)

func allow(name string, nr uint32) rule { return rule{name: name, number: nr} }

// refuse answers with an error what a library may try and can do without.
func refuse(name string, nr uint32, e unix.Errno) rule { return rule{name: name, number: nr, errno: e} }

func allowIf(name string, nr uint32, e unix.Errno, when ...[]test) rule {
	return rule{name: name, number: nr, errno: e, when: when}
}

// is makes one alternative for each value that an int argument may have.
func is(arg uint32, values ...uint32) (when [][]test) {
	for _, v := range values {
		when = append(when, []test{{arg: arg, mask: ^uint32(0), value: v}})
	}
	return when
}

// syscallRules is everything the program may ask of the kernel on any architecture; what is not here, or in the legacy
// calls of an architecture, kills it.
//
// It was derived from workerd under the load of testdata/load.js (strace -f), and widened by what differs between
// versions of glibc, V8, tcmalloc, SQLite and the number of CPUs, where a call can do no harm: it concerns the process
// itself, or a descriptor it holds.
func syscallRules() []rule {
	return []rule{
		// Input and output on descriptors.
		allow("read", unix.SYS_READ),
		allow("write", unix.SYS_WRITE),
		allow("readv", unix.SYS_READV),
		allow("writev", unix.SYS_WRITEV),
		allow("pread64", unix.SYS_PREAD64),
		allow("pwrite64", unix.SYS_PWRITE64),
		allow("preadv", unix.SYS_PREADV),
		allow("pwritev", unix.SYS_PWRITEV),
		allow("preadv2", unix.SYS_PREADV2),
		allow("pwritev2", unix.SYS_PWRITEV2),
		allow("close", unix.SYS_CLOSE),
		allow("lseek", unix.SYS_LSEEK),
		allow("dup", unix.SYS_DUP),
		allow("dup3", unix.SYS_DUP3),
		allow("pipe2", unix.SYS_PIPE2),
		allow("eventfd2", unix.SYS_EVENTFD2),
		allow("signalfd4", unix.SYS_SIGNALFD4),
		allow("timerfd_create", unix.SYS_TIMERFD_CREATE),
		allow("timerfd_settime", unix.SYS_TIMERFD_SETTIME),
		allow("timerfd_gettime", unix.SYS_TIMERFD_GETTIME),
		allow("epoll_create1", unix.SYS_EPOLL_CREATE1),
		allow("epoll_ctl", unix.SYS_EPOLL_CTL),
		allow("epoll_pwait", unix.SYS_EPOLL_PWAIT),
		allow("epoll_pwait2", unix.SYS_EPOLL_PWAIT2),
		allow("ppoll", unix.SYS_PPOLL),
		allow("pselect6", unix.SYS_PSELECT6),
		// Not F_SETOWN and F_SETSIG, which send signals, nor leases and notifications.
		allowIf("fcntl", unix.SYS_FCNTL, unix.EINVAL, is(1, unix.F_DUPFD, unix.F_DUPFD_CLOEXEC, unix.F_GETFD, unix.F_SETFD,
			unix.F_GETFL, unix.F_SETFL, unix.F_GETLK, unix.F_SETLK, unix.F_SETLKW, unix.F_OFD_GETLK, unix.F_OFD_SETLK,
			unix.F_OFD_SETLKW)...),
		// Is it a terminal, how much is there to read, non-blocking, close on exec: the rest are device drivers.
		allowIf("ioctl", unix.SYS_IOCTL, unix.ENOTTY, is(1, unix.TCGETS, unix.TIOCINQ, fionbio, fioclex)...),

		// Unix sockets; what there is to connect to was bound in. No bind and no listen: it is handed what it listens on.
		allowIf("socket", unix.SYS_SOCKET, unix.EAFNOSUPPORT, is(0, unix.AF_UNIX)...),
		allowIf("socketpair", unix.SYS_SOCKETPAIR, unix.EAFNOSUPPORT, is(0, unix.AF_UNIX)...),
		allow("connect", unix.SYS_CONNECT),
		allow("accept", unix.SYS_ACCEPT),
		allow("accept4", unix.SYS_ACCEPT4),
		allow("sendto", unix.SYS_SENDTO),
		allow("recvfrom", unix.SYS_RECVFROM),
		allow("sendmsg", unix.SYS_SENDMSG),
		allow("recvmsg", unix.SYS_RECVMSG),
		allow("shutdown", unix.SYS_SHUTDOWN),
		allow("getsockname", unix.SYS_GETSOCKNAME),
		allow("getpeername", unix.SYS_GETPEERNAME),
		allow("getsockopt", unix.SYS_GETSOCKOPT),
		allow("setsockopt", unix.SYS_SETSOCKOPT),

		// Files, of which there are few: /tmp, and the directory of a script's Durable Objects.
		allow("openat", unix.SYS_OPENAT),
		refuse("openat2", unix.SYS_OPENAT2, unix.ENOSYS),
		allow("newfstatat", sysFstatat),
		allow("fstat", unix.SYS_FSTAT),
		allow("statx", unix.SYS_STATX),
		allow("statfs", unix.SYS_STATFS),
		allow("fstatfs", unix.SYS_FSTATFS),
		allow("faccessat", unix.SYS_FACCESSAT),
		allow("faccessat2", unix.SYS_FACCESSAT2),
		allow("readlinkat", unix.SYS_READLINKAT),
		allow("getcwd", unix.SYS_GETCWD),
		allow("getdents64", unix.SYS_GETDENTS64),
		allow("mkdirat", unix.SYS_MKDIRAT),
		allow("unlinkat", unix.SYS_UNLINKAT),
		allow("renameat", unix.SYS_RENAMEAT),
		allow("renameat2", unix.SYS_RENAMEAT2),
		allow("linkat", unix.SYS_LINKAT),
		allow("ftruncate", unix.SYS_FTRUNCATE),
		allow("fallocate", unix.SYS_FALLOCATE),
		allow("fsync", unix.SYS_FSYNC),
		allow("fdatasync", unix.SYS_FDATASYNC),
		allow("flock", unix.SYS_FLOCK),
		allow("fchmod", unix.SYS_FCHMOD),
		allow("fchown", unix.SYS_FCHOWN),
		allow("utimensat", unix.SYS_UTIMENSAT),
		allow("fadvise64", unix.SYS_FADVISE64),
		allow("umask", unix.SYS_UMASK),
		refuse("copy_file_range", unix.SYS_COPY_FILE_RANGE, unix.ENOSYS),
		refuse("memfd_create", unix.SYS_MEMFD_CREATE, unix.ENOSYS),

		// Memory.
		allow("mmap", unix.SYS_MMAP),
		allow("munmap", unix.SYS_MUNMAP),
		allow("mprotect", unix.SYS_MPROTECT),
		allow("mremap", unix.SYS_MREMAP),
		allow("madvise", unix.SYS_MADVISE),
		allow("mincore", unix.SYS_MINCORE),
		allow("msync", unix.SYS_MSYNC),
		allow("brk", unix.SYS_BRK),
		allow("membarrier", unix.SYS_MEMBARRIER),
		allow("pkey_alloc", unix.SYS_PKEY_ALLOC),
		allow("pkey_free", unix.SYS_PKEY_FREE),
		allow("pkey_mprotect", unix.SYS_PKEY_MPROTECT),
		refuse("mbind", unix.SYS_MBIND, unix.ENOSYS),
		refuse("get_mempolicy", unix.SYS_GET_MEMPOLICY, unix.ENOSYS),
		refuse("set_mempolicy", unix.SYS_SET_MEMPOLICY, unix.ENOSYS),
		refuse("mlock", unix.SYS_MLOCK, unix.EPERM),
		refuse("mlock2", unix.SYS_MLOCK2, unix.EPERM),
		refuse("mseal", unix.SYS_MSEAL, unix.ENOSYS),
		refuse("map_shadow_stack", unix.SYS_MAP_SHADOW_STACK, unix.ENOSYS),

		// Threads, but no processes and no namespaces. The flags of clone3 lie in memory, which a filter cannot see; at ENOSYS
		// glibc uses clone.
		allowIf("clone", unix.SYS_CLONE, 0, []test{{arg: 0, mask: unix.CLONE_THREAD | namespaceFlags, value: unix.CLONE_THREAD}}),
		refuse("clone3", unix.SYS_CLONE3, unix.ENOSYS),
		allow("futex", unix.SYS_FUTEX),
		allow("set_robust_list", unix.SYS_SET_ROBUST_LIST),
		allow("get_robust_list", unix.SYS_GET_ROBUST_LIST),
		allow("set_tid_address", unix.SYS_SET_TID_ADDRESS),
		allow("rseq", unix.SYS_RSEQ),
		allow("gettid", unix.SYS_GETTID),
		allow("sched_yield", unix.SYS_SCHED_YIELD),
		allow("sched_getaffinity", unix.SYS_SCHED_GETAFFINITY),
		allow("sched_getparam", unix.SYS_SCHED_GETPARAM),
		allow("sched_getscheduler", unix.SYS_SCHED_GETSCHEDULER),
		allow("sched_get_priority_max", unix.SYS_SCHED_GET_PRIORITY_MAX),
		allow("sched_get_priority_min", unix.SYS_SCHED_GET_PRIORITY_MIN),
		allow("getpriority", unix.SYS_GETPRIORITY),
		refuse("setpriority", unix.SYS_SETPRIORITY, unix.EPERM),
		refuse("sched_setaffinity", unix.SYS_SCHED_SETAFFINITY, unix.EPERM),
		refuse("sched_setparam", unix.SYS_SCHED_SETPARAM, unix.EPERM),
		refuse("sched_setscheduler", unix.SYS_SCHED_SETSCHEDULER, unix.EPERM),
		allow("getcpu", unix.SYS_GETCPU),
		allow("exit", unix.SYS_EXIT),
		allow("exit_group", unix.SYS_EXIT_GROUP),
		// Once, to become the program; then Landlock and the mounts leave nothing to execute but it and its loader.
		allow("execve", unix.SYS_EXECVE),

		// Signals to itself.
		allow("rt_sigaction", unix.SYS_RT_SIGACTION),
		allow("rt_sigprocmask", unix.SYS_RT_SIGPROCMASK),
		allow("rt_sigreturn", unix.SYS_RT_SIGRETURN),
		allow("rt_sigpending", unix.SYS_RT_SIGPENDING),
		allow("rt_sigtimedwait", unix.SYS_RT_SIGTIMEDWAIT),
		allow("rt_sigsuspend", unix.SYS_RT_SIGSUSPEND),
		allow("sigaltstack", unix.SYS_SIGALTSTACK),
		allow("restart_syscall", unix.SYS_RESTART_SYSCALL),
		allow("tgkill", unix.SYS_TGKILL),

		// Clocks, and what it is itself.
		allow("clock_gettime", unix.SYS_CLOCK_GETTIME),
		allow("clock_getres", unix.SYS_CLOCK_GETRES),
		allow("clock_nanosleep", unix.SYS_CLOCK_NANOSLEEP),
		allow("gettimeofday", unix.SYS_GETTIMEOFDAY),
		allow("nanosleep", unix.SYS_NANOSLEEP),
		allow("times", unix.SYS_TIMES),
		allow("getrandom", unix.SYS_GETRANDOM),
		allow("getpid", unix.SYS_GETPID),
		allow("getppid", unix.SYS_GETPPID),
		allow("getuid", unix.SYS_GETUID),
		allow("geteuid", unix.SYS_GETEUID),
		allow("getgid", unix.SYS_GETGID),
		allow("getegid", unix.SYS_GETEGID),
		allow("getgroups", unix.SYS_GETGROUPS),
		allow("getrusage", unix.SYS_GETRUSAGE),
		allow("uname", unix.SYS_UNAME),
		allow("sysinfo", unix.SYS_SYSINFO),
		// Limits are read and never set: the third argument is the new one.
		allowIf("prlimit64", unix.SYS_PRLIMIT64, unix.EPERM, []test{{arg: 2, mask: ^uint32(0), wide: true}}),
		allowIf("prctl", unix.SYS_PRCTL, unix.EINVAL, is(0, unix.PR_SET_VMA, unix.PR_SET_NAME, unix.PR_GET_NAME,
			unix.PR_GET_DUMPABLE, unix.PR_GET_NO_NEW_PRIVS, unix.PR_GET_SECCOMP, unix.PR_CAPBSET_READ)...),
	}
}

// frozenRules take the place of those of the same name for a program that may not make code: what can be executed are the
// files that the root holds, and nothing that the program wrote.
func frozenRules() []rule {
	const exec, write = unix.PROT_EXEC, unix.PROT_EXEC | unix.PROT_WRITE
	return []rule{
		allowIf("mmap", unix.SYS_MMAP, unix.EACCES,
			[]test{{arg: 2, mask: exec}},
			[]test{{arg: 2, mask: write, value: exec}, {arg: 3, mask: unix.MAP_ANONYMOUS}}),
		allowIf("mprotect", unix.SYS_MPROTECT, unix.EACCES, []test{{arg: 2, mask: exec}}),
		allowIf("pkey_mprotect", unix.SYS_PKEY_MPROTECT, unix.EACCES, []test{{arg: 2, mask: exec}}),
	}
}

// allRules are the rules of this architecture.
func allRules(frozen bool) []rule {
	rules := append(syscallRules(), legacyRules()...)
	if !frozen {
		return rules
	}
	for _, f := range frozenRules() {
		i := slices.IndexFunc(rules, func(r rule) bool { return r.name == f.name })
		rules[i] = f
	}
	return rules
}
