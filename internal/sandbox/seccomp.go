package sandbox

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rule says what becomes of one system call.
type rule struct {
	name   string
	number uint32
	when   [][]test   // any of these, each of whose tests must hold; none: always
	errno  unix.Errno // what it answers when none holds, or, without when, always; 0 there allows, and kills here
}

// test holds where the low word of an argument, masked, is the value; wide, where the high word is zero as well.
type test struct {
	arg         uint32
	mask, value uint32
	wide        bool
}

// The filter is assembled here and not by elastic/go-seccomp-bpf, the library at hand: in its v1.6.0 a call whose
// conditions fail is compared on with its argument in the place of its number, so that socket(72, 3) passed by the rule
// for fcntl.

// verdict is what a rule comes to where no test of it holds.
func (r rule) verdict() uint32 {
	if r.errno != 0 {
		return unix.SECCOMP_RET_ERRNO | uint32(r.errno)
	}
	if r.when != nil {
		return unix.SECCOMP_RET_KILL_PROCESS
	}
	return unix.SECCOMP_RET_ALLOW
}

// Offsets in struct seccomp_data (seccomp(2)); both architectures are little-endian.
const (
	offNumber = 0
	offArch   = 4
	offArgs   = 16
)

// filter assembles rules into a classic BPF program. Each rule's code ends in a verdict, whatever its arguments, so
// nothing that follows ever looks at anything but the number. What has no rule kills the process. Rules without tests
// cost nothing at run time: the kernel works them out once and keeps a bitmap.
func filter(rules []rule) []unix.SockFilter {
	f := []unix.SockFilter{
		load(offArch),
		jump(unix.BPF_JEQ, auditArch, 1, 0),
		verdict(unix.SECCOMP_RET_KILL_PROCESS),
		load(offNumber),
	}
	for _, r := range rules {
		body := r.body()
		f = append(f, jump(unix.BPF_JEQ, r.number, 0, uint8(len(body))))
		f = append(f, body...)
	}
	return append(f, verdict(unix.SECCOMP_RET_KILL_PROCESS))
}

func (r rule) body() (code []unix.SockFilter) {
	for _, tests := range r.when {
		code = append(code, all(tests)...)
	}
	return append(code, verdict(r.verdict()))
}

// all is code that allows the call where every test holds, and goes on behind itself where one does not.
func all(tests []test) (code []unix.SockFilter) {
	// Built from the end, so that the way out of each test is known.
	code = []unix.SockFilter{verdict(unix.SECCOMP_RET_ALLOW)}
	for i := len(tests) - 1; i >= 0; i-- {
		t := tests[i]
		head := []unix.SockFilter{load(offArgs + 8*t.arg)}
		if t.mask != ^uint32(0) {
			head = append(head, unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: t.mask})
		}
		head = append(head, jump(unix.BPF_JEQ, t.value, 0, uint8(len(code))))
		if t.wide {
			high := []unix.SockFilter{load(offArgs + 8*t.arg + 4), jump(unix.BPF_JEQ, 0, 0, uint8(len(head)+len(code)))}
			head = append(high, head...)
		}
		code = append(head, code...)
	}
	return code
}

func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

func jump(cond uint16, k uint32, ifTrue, ifFalse uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | cond | unix.BPF_K, K: k, Jt: ifTrue, Jf: ifFalse}
}

func verdict(v uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: v}
}

// sealSyscalls applies the filter to the calling thread alone: the others are about to vanish, and need calls that
// workerd does not.
func sealSyscalls(f []byte) error {
	prog := unix.SockFprog{Len: uint16(len(f) / unix.SizeofSockFilter), Filter: (*unix.SockFilter)(unsafe.Pointer(&f[0]))}
	_, _, e := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog)))
	if e != 0 {
		return fmt.Errorf("set seccomp filter: %w", e)
	}
	return nil
}

// filterBytes is f as sealSyscalls takes it.
func filterBytes(f []unix.SockFilter) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(&f[0])), len(f)*unix.SizeofSockFilter)
}
