package terminate

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// registers are all that a function may change: the System V ABI lets it change most of the vector registers too.
type registers struct {
	general unix.PtraceRegs
	vector  []byte // as XSAVE writes them
}

// maxVector holds the largest XSAVE area there is, with room to grow: AMX has 11 kB.
const maxVector = 32 << 10

func (r *registers) load(pid int) error {
	if err := unix.PtraceGetRegs(pid, &r.general); err != nil {
		return err
	}
	if r.vector == nil {
		r.vector = make([]byte, maxVector)
	}
	r.vector = r.vector[:maxVector]
	n, err := registerSet(unix.PTRACE_GETREGSET, pid, unix.NT_X86_XSTATE, unsafe.Pointer(&r.vector[0]), maxVector)
	r.vector = r.vector[:n]
	return err
}

// store restores what load has read. Orig_rax is among it, so a system call that the stop has interrupted is restarted as
// it would have been; the calls in between ran with -1 there, which means none.
func (r *registers) store(pid int) error {
	_, err := registerSet(unix.PTRACE_SETREGSET, pid, unix.NT_X86_XSTATE, unsafe.Pointer(&r.vector[0]), len(r.vector))
	if err != nil {
		return err
	}
	return unix.PtraceSetRegs(pid, &r.general)
}

func (r *registers) pc() uint64     { return r.general.Rip }
func (r *registers) setPC(v uint64) { r.general.Rip = v }

// enter makes the thread's next instruction the first of function, called from address 0 on a new stack frame below the
// red zone.
func (s *stop) enter(function uintptr, arg uint64, byReference bool) error {
	const redZone, direction = 128, 1 << 10
	r := s.saved.general
	sp := (r.Rsp-redZone-64)&^15 - 8
	var frame [24]byte // the return address, 0, and behind it the argument
	binary.LittleEndian.PutUint64(frame[16:], arg)
	if err := s.t.write(uintptr(sp), frame[:]); err != nil {
		return err
	}
	r.Rsp, r.Rip, r.Rdi, r.Rax = sp, uint64(function), arg, 0
	if byReference {
		r.Rdi = sp + 16
	}
	r.Orig_rax = ^uint64(0)
	r.Eflags &^= direction
	return unix.PtraceSetRegs(s.t.pid, &r)
}

// enterWith is enter for up to five arguments, on a stack below scratch.
func (s *stop) enterWith(function uintptr, args ...uint64) error {
	const direction = 1 << 10
	r := s.saved.general
	r.Rsp = s.scratch() - 8
	if err := s.t.write(uintptr(r.Rsp), make([]byte, 8)); err != nil { // the return address
		return err
	}
	for i, to := range []*uint64{&r.Rdi, &r.Rsi, &r.Rdx, &r.Rcx, &r.R8} {
		if i < len(args) {
			*to = args[i]
		}
	}
	r.Rip, r.Rax, r.Orig_rax = uint64(function), 0, ^uint64(0)
	r.Eflags &^= direction
	return unix.PtraceSetRegs(s.t.pid, &r)
}

// scratch is the address of scratchSize bytes of the thread's stack that nobody uses while its registers are borrowed.
func (s *stop) scratch() uint64 {
	const redZone = 128
	return (s.saved.general.Rsp - redZone - scratchSize) &^ 15
}

// result is where a stopped thread is, and what its last call returned.
func (s *stop) result() (pc uintptr, value uint64, err error) {
	var r unix.PtraceRegs
	err = unix.PtraceGetRegs(s.t.pid, &r)
	return uintptr(r.Rip), r.Rax, err
}

func readThreadPointer(pid int) (uintptr, error) {
	var r unix.PtraceRegs
	err := unix.PtraceGetRegs(pid, &r)
	return uintptr(r.Fs_base), err
}

// watch has the thread trapped when it writes the word at data and before it runs an instruction of code, of which there
// may be two; 0 is none. See Intel's manual, volume 3, "Debug Registers".
func (s *stop) watch(data uintptr, code ...uintptr) error {
	const registers, control = 848, 848 + 7*8 // offsets of u_debugreg[0] and [7] in struct user
	const writeEight = 0b1001 << 16           // the first register's condition and length
	s.watching = true                         // from here on there may be something to clear
	if err := poke(s.t.pid, control, 0); err != nil {
		return s.t.explain(err)
	}
	var on uintptr
	for i, addr := range append([]uintptr{data}, code...) {
		if addr == 0 {
			continue
		}
		on |= 1 << (2 * i)
		if i == 0 {
			on |= writeEight
		}
		if err := poke(s.t.pid, registers+uintptr(8*i), addr); err != nil {
			return s.t.explain(err)
		}
	}
	s.watching = on != 0
	if !s.watching {
		return nil
	}
	return s.t.explain(poke(s.t.pid, control, on))
}

// written is the word at data, whose writing has trapped the thread.
func (s *stop) written(data uintptr) (uint64, error) { return s.t.readWord(data) }

func poke(pid int, offset, value uintptr) error {
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_POKEUSR, uintptr(pid), offset, value, 0, 0)
	if errno != 0 {
		return fmt.Errorf("set debug register: %w", errno)
	}
	return nil
}
