package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func socket(domain, typ, proto int) func() error {
	return func() error { _, err := unix.Socket(domain, typ, proto); return err }
}

var sockets = []attempt{
	{"tcp", socket(unix.AF_INET, unix.SOCK_STREAM, 0)},
	{"tcp6", socket(unix.AF_INET6, unix.SOCK_STREAM, 0)},
	{"udp", socket(unix.AF_INET, unix.SOCK_DGRAM, 0)},
	{"icmp", socket(unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP)},
	{"raw", socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW)},
	{"packet", socket(unix.AF_PACKET, unix.SOCK_RAW, 0)},
	{"netlink", socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)},
	{"vsock", socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0)},
	{"crypto-socket", socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0)},
	{"bluetooth", socket(unix.AF_BLUETOOTH, unix.SOCK_RAW, 0)},
	{"can", socket(unix.AF_CAN, unix.SOCK_RAW, 1)},
	{"domain-equal-to-a-system-call", socket(unix.SYS_FCNTL, unix.F_GETFL, 0)},
	{"socketpair-of-another-domain", func() error { _, err := unix.Socketpair(unix.AF_INET, unix.SOCK_STREAM, 0); return err }},
	{"abstract-socket-of-the-node", connect("@" + os.Args[len(os.Args)-1])},
	{"socket-of-the-node", connect(os.Args[len(os.Args)-1])},
	{"listen", func() error {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrUnix{Name: "/tmp/sock"})
	}},
}

func connect(name string) func() error {
	return func() error {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		return unix.Connect(fd, &unix.SockaddrUnix{Name: name})
	}
}

var processes = []attempt{
	{"fork", call(unix.SYS_CLONE, uintptr(unix.SIGCHLD))},
	{"clone3", func() error {
		args := [11]uint64{4: uint64(unix.SIGCHLD)}
		return call(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&args)), 88)()
	}},
	{"ptrace-self", call(unix.SYS_PTRACE, unix.PTRACE_TRACEME)},
	{"ptrace-other", call(unix.SYS_PTRACE, unix.PTRACE_SEIZE, 2)},
	{"read-memory-of-another", call(unix.SYS_PROCESS_VM_READV, 2)},
	{"write-memory-of-another", call(unix.SYS_PROCESS_VM_WRITEV, 2)},
	{"signal-everybody", func() error { return unix.Kill(-1, 0) }},
	{"signal-parent", func() error { return unix.Kill(os.Getppid(), 0) }},
	{"signal-pid-2", func() error { return unix.Tgkill(2, 2, 0) }},
	{"see-parent", func() error {
		if os.Getppid() == 0 {
			return errors.New("no parent in sight")
		}
		return nil
	}},
	{"queue-signal", call(unix.SYS_RT_SIGQUEUEINFO, 2, 9)},
	{"pidfd", call(unix.SYS_PIDFD_OPEN, 1)},
	{"steal-descriptor", call(unix.SYS_PIDFD_GETFD, 3, 0)},
	{"compare-kernel-objects", call(unix.SYS_KCMP, 1, 1, 0, 0, 0)},
	{"move-pages", call(unix.SYS_MOVE_PAGES, 1)},
	{"advise-other", call(unix.SYS_PROCESS_MADVISE, 3)},
	{"wait-for-children", call(unix.SYS_WAITID, unix.P_ALL, 0, 0, unix.WNOHANG|unix.WEXITED)},
}

var namespaces = []attempt{
	{"unshare-user", func() error { return unix.Unshare(unix.CLONE_NEWUSER) }},
	{"unshare-mount", func() error { return unix.Unshare(unix.CLONE_NEWNS) }},
	{"unshare-pid", func() error { return unix.Unshare(unix.CLONE_NEWPID) }},
	{"unshare-net", func() error { return unix.Unshare(unix.CLONE_NEWNET) }},
	{"unshare-cgroup", func() error { return unix.Unshare(unix.CLONE_NEWCGROUP) }},
	{"unshare-files", func() error { return unix.Unshare(unix.CLONE_FS) }},
	{"clone-user", call(unix.SYS_CLONE, unix.CLONE_NEWUSER|uintptr(unix.SIGCHLD))},
	{"clone-thread-user", call(unix.SYS_CLONE, unix.CLONE_NEWUSER|unix.CLONE_VM|unix.CLONE_SIGHAND|unix.CLONE_THREAD)},
	{"clone-mount", call(unix.SYS_CLONE, unix.CLONE_NEWNS|uintptr(unix.SIGCHLD))},
	{"clone-net", call(unix.SYS_CLONE, unix.CLONE_NEWNET|uintptr(unix.SIGCHLD))},
	{"clone3-user", func() error {
		args := [11]uint64{0: unix.CLONE_NEWUSER, 4: uint64(unix.SIGCHLD)}
		return call(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&args)), 88)()
	}},
	{"setns", func() error { return unix.Setns(0, 0) }},
}

var kernel = []attempt{
	{"io-uring", func() error {
		var params [120]byte
		return call(unix.SYS_IO_URING_SETUP, 8, uintptr(unsafe.Pointer(&params)))()
	}},
	{"io-uring-enter", call(unix.SYS_IO_URING_ENTER, 3)},
	{"io-uring-register", call(unix.SYS_IO_URING_REGISTER, 3)},
	{"aio", func() error {
		var ctx uint64
		return call(unix.SYS_IO_SETUP, 1, uintptr(unsafe.Pointer(&ctx)))()
	}},
	{"bpf", func() error {
		attr := [18]uint32{0: 2, 1: 4, 2: 4, 3: 1} // BPF_MAP_TYPE_ARRAY
		return call(unix.SYS_BPF, 0, uintptr(unsafe.Pointer(&attr)), 72)()
	}},
	{"keyctl", func() error { _, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, true); return err }},
	{"add-key", func() error {
		_, err := unix.AddKey("user", "x", []byte("y"), unix.KEY_SPEC_PROCESS_KEYRING)
		return err
	}},
	{"request-key", func() error { _, err := unix.RequestKey("user", "x", "", 0); return err }},
	{"userfaultfd", call(unix.SYS_USERFAULTFD, 1)},
	{"perf", func() error {
		_, err := unix.PerfEventOpen(&unix.PerfEventAttr{Type: unix.PERF_TYPE_SOFTWARE, Size: 112}, 0, -1, -1, 0)
		return err
	}},
	{"load-module", call(unix.SYS_INIT_MODULE)},
	{"load-module-file", call(unix.SYS_FINIT_MODULE)},
	{"remove-module", call(unix.SYS_DELETE_MODULE, ptr("x"))},
	{"kexec", call(unix.SYS_KEXEC_LOAD)},
	{"reboot", call(unix.SYS_REBOOT, unix.LINUX_REBOOT_MAGIC1, unix.LINUX_REBOOT_MAGIC2, unix.LINUX_REBOOT_CMD_CAD_OFF)},
	{"kernel-log", func() error { _, err := unix.Klogctl(3, make([]byte, 100)); return err }},
	{"swap", call(unix.SYS_SWAPON, ptr("/tmp/x"))},
	{"accounting", call(unix.SYS_ACCT, 0)},
	{"quota", call(unix.SYS_QUOTACTL)},
	{"shared-memory", func() error { _, err := unix.SysvShmGet(unix.IPC_PRIVATE, 4096, unix.IPC_CREAT); return err }},
	{"message-queue", call(unix.SYS_MSGGET, 0, unix.IPC_CREAT)},
	{"semaphores", call(unix.SYS_SEMGET, 0, 1, unix.IPC_CREAT)},
	{"posix-message-queue", call(unix.SYS_MQ_OPEN, ptr("x"), unix.O_CREAT|unix.O_RDWR)},
	{"secret-memory", call(unix.SYS_MEMFD_SECRET)},
	{"numa", func() error {
		var mask uint64 = 1
		return call(unix.SYS_SET_MEMPOLICY, 2, uintptr(unsafe.Pointer(&mask)), 64)()
	}},
	{"set-time", func() error {
		return unix.ClockSettime(unix.CLOCK_REALTIME, &unix.Timespec{Sec: time.Now().Unix()})
	}},
	{"adjust-time", func() error { _, err := unix.Adjtimex(&unix.Timex{Modes: 1}); return err }},
	{"second-filter", func() error {
		action := uint32(unix.SECCOMP_RET_ALLOW)
		return call(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action)))()
	}},
	{"landlock", call(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, 1)},
	{"unknown-system-call", call(5000)},
	{"system-calls-of-i386", otherABI},
	{"system-calls-of-x32", x32},
}

var privileges = []attempt{
	{"become-root", some(func() error { return setID(unix.SYS_SETUID, 0) }, func() error { return setID(unix.SYS_SETGID, 0) })},
	{"become-another", func() error { return setID(unix.SYS_SETRESUID, 1000) }},
	{"join-groups", call(unix.SYS_SETGROUPS, 0, 0)},
	{"raise-capabilities", func() error {
		hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		data := [2]unix.CapUserData{{Effective: 1 << unix.CAP_SYS_ADMIN, Permitted: 1 << unix.CAP_SYS_ADMIN}}
		return unix.Capset(&hdr, &data[0])
	}},
	{"hold-capabilities", func() error {
		hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		if err := unix.Capget(&hdr, &data[0]); err != nil {
			return err
		}
		if data == ([2]unix.CapUserData{}) {
			return errors.New("none held")
		}
		return nil
	}},
	{"bounding-set", func() error {
		for c := range uintptr(41) {
			if n, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0); err != nil || n != 0 {
				fmt.Println("capability", c, "is", n, err)
				return nil
			}
		}
		return errors.New("none left")
	}},
	{"new-privileges", func() error {
		if n, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err == nil && n == 1 {
			return errors.New("none to gain")
		}
		return nil
	}},
	{"securebits", func() error { return unix.Prctl(unix.PR_SET_SECUREBITS, 0, 0, 0, 0) }},
	{"keep-capabilities", func() error { return unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0) }},
	{"ambient-capability", func() error {
		return unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, unix.CAP_SYS_ADMIN, 0, 0)
	}},
	{"outlive-the-node", func() error { return unix.Prctl(unix.PR_SET_PDEATHSIG, 0, 0, 0, 0) }},
	{"let-others-trace", func() error { return unix.Prctl(unix.PR_SET_PTRACER, ^uintptr(0), 0, 0, 0) }},
	{"move-own-memory-map", func() error { return unix.Prctl(unix.PR_SET_MM, 0, 0, 0, 0) }},
	{"personality", call(unix.SYS_PERSONALITY, 0x0040000)},
	{"host-name", func() error { return unix.Sethostname([]byte("x")) }},
	{"read-host-name", func() error {
		if name, err := os.Hostname(); err != nil || name == "worker" {
			return errors.New("only its own")
		}
		return nil
	}},
	{"new-session", call(unix.SYS_SETSID)},
	{"read-environment", func() error {
		if len(os.Environ()) == 0 {
			return errors.New("empty")
		}
		return nil
	}},
}

func setID(nr uintptr, id uintptr) error { return call(nr, id, id, id)() }

var limits = []attempt{
	{"raise-limit", func() error {
		return unix.Prlimit(0, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1 << 20, Max: 1 << 20}, nil)
	}},
	{"dump-core", func() error {
		var l unix.Rlimit
		if err := unix.Prlimit(0, unix.RLIMIT_CORE, nil, &l); err != nil {
			return err
		}
		if l.Max <= 1 {
			return errors.New("not allowed")
		}
		return nil
	}},
	{"many-descriptors", func() error {
		for range 5000 {
			if _, err := unix.Dup(0); err != nil {
				return err
			}
		}
		return nil
	}},
	{"much-in-tmp", func() error {
		f, err := os.Create("/tmp/much")
		if err != nil {
			return err
		}
		for range 64 {
			if _, err := f.Write(make([]byte, 1<<20)); err != nil {
				return err
			}
		}
		return nil
	}},
	{"many-files-in-tmp", func() error {
		for i := range 5000 {
			f, err := os.Create(fmt.Sprint("/tmp/", i))
			if err != nil {
				return err
			}
			f.Close()
		}
		return nil
	}},
	{"lock-memory", func() error { return unix.Mlockall(unix.MCL_CURRENT) }},
	{"raise-priority", func() error { return unix.Setpriority(unix.PRIO_PROCESS, 0, -10) }},
	{"real-time", func() error {
		return unix.SchedSetAttr(0, &unix.SchedAttr{Size: 48, Policy: 1, Priority: 1}, 0)
	}},
	{"choose-cpu", func() error {
		var set unix.CPUSet
		set.Set(0)
		return unix.SchedSetaffinity(0, &set)
	}},
	// The Go runtime gives up where it cannot have a thread.
	{"many-threads", func() error {
		hold := make(chan struct{})
		for range 200 {
			up := make(chan struct{})
			go func() {
				runtime.LockOSThread()
				close(up)
				<-hold
			}()
			<-up
		}
		return nil
	}},
}
