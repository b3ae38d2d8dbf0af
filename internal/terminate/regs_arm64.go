package terminate

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// registers are all that a function may change.
type registers struct {
	general unix.PtraceRegs
	vector  [528]byte // struct user_fpsimd_state
}

const floatingPoint = 2 // NT_PRFPREG

func (r *registers) load(pid int) error {
	if err := unix.PtraceGetRegs(pid, &r.general); err != nil {
		return err
	}
	_, err := registerSet(unix.PTRACE_GETREGSET, pid, floatingPoint, unsafe.Pointer(&r.vector), len(r.vector))
	return err
}

// store restores what load has read. A system call that the stop has interrupted is restarted: at the stop the program
// counter and the first argument are set back already (do_signal in the kernel's arch/arm64).
func (r *registers) store(pid int) error {
	_, err := registerSet(unix.PTRACE_SETREGSET, pid, floatingPoint, unsafe.Pointer(&r.vector), len(r.vector))
	if err != nil {
		return err
	}
	return unix.PtraceSetRegs(pid, &r.general)
}

func (r *registers) pc() uint64     { return r.general.Pc }
func (r *registers) setPC(v uint64) { r.general.Pc = v }

// enter makes the thread's next instruction the first of function, called from address 0 on a new stack frame.
func (s *stop) enter(function uintptr, arg uint64, byReference bool) error {
	const linkRegister, branchType = 30, 3 << 10
	r := s.saved.general
	sp := (r.Sp - 256) &^ 15
	if err := s.t.write(uintptr(sp), (*[8]byte)(unsafe.Pointer(&arg))[:]); err != nil {
		return err
	}
	r.Sp, r.Pc, r.Regs[0], r.Regs[linkRegister] = sp, uint64(function), arg, 0
	if byReference {
		r.Regs[0] = sp
	}
	r.Pstate &^= branchType
	return unix.PtraceSetRegs(s.t.pid, &r)
}

// enterWith is enter for up to five arguments, on a stack below scratch.
func (s *stop) enterWith(function uintptr, args ...uint64) error {
	const linkRegister, branchType = 30, 3 << 10
	r := s.saved.general
	copy(r.Regs[:], args)
	r.Sp, r.Pc, r.Regs[linkRegister] = s.scratch(), uint64(function), 0
	r.Pstate &^= branchType
	return unix.PtraceSetRegs(s.t.pid, &r)
}

// scratch is the address of scratchSize bytes of the thread's stack that nobody uses while its registers are borrowed.
func (s *stop) scratch() uint64 { return (s.saved.general.Sp - 256 - scratchSize) &^ 15 }

// result is where a stopped thread is, and what its last call returned.
func (s *stop) result() (pc uintptr, value uint64, err error) {
	var r unix.PtraceRegs
	err = unix.PtraceGetRegs(s.t.pid, &r)
	return uintptr(r.Pc), r.Regs[0], err
}

func readThreadPointer(pid int) (uintptr, error) {
	var tp uint64
	_, err := registerSet(unix.PTRACE_GETREGSET, pid, unix.NT_ARM_TLS, unsafe.Pointer(&tp), 8)
	return uintptr(tp), err
}

// debugRegisters is the kernel's struct user_hwdebug_state with as many registers as are used.
type debugRegisters struct {
	info, pad uint32
	reg       [2]struct {
		addr      uint64
		ctrl, pad uint32
	}
}

// watch has the thread trapped before it writes the word at data and before it runs an instruction of code, of which there
// may be two; 0 is none.
func (s *stop) watch(data uintptr, code ...uintptr) error {
	const on, user, store = 1, 2 << 1, 2 << 3
	s.watching = true // from here on there may be something to clear
	var d, c debugRegisters
	if data != 0 {
		d.reg[0].addr, d.reg[0].ctrl = uint64(data), 0xff<<5|store|user|on
	}
	for i, addr := range code {
		c.reg[i].addr, c.reg[i].ctrl = uint64(addr), 0xf<<5|user|on
	}
	if err := setDebug(s.t.pid, unix.NT_ARM_HW_WATCH, &d, 1); err != nil {
		return s.t.explain(err)
	}
	if err := setDebug(s.t.pid, unix.NT_ARM_HW_BREAK, &c, len(c.reg)); err != nil {
		return s.t.explain(err)
	}
	s.watching = data != 0 || len(code) > 0
	return nil
}

// written is the word at data, whose writing has trapped the thread. The trap comes before the instruction, which is
// stepped over here.
func (s *stop) written(data uintptr) (uint64, error) {
	if err := s.watch(0); err != nil {
		return 0, err
	}
	if err := s.restore(); err != nil {
		return 0, err
	}
	if err := unix.PtraceSingleStep(s.t.pid); err != nil {
		return 0, s.t.explain(err)
	}
	s.running = true
	if _, err := s.wait(after(callTimeout)); err != nil {
		return 0, err
	}
	word, err := s.t.readWord(data)
	if err != nil {
		return 0, err
	}
	return word, s.watch(data)
}

func setDebug(pid, set int, d *debugRegisters, n int) error {
	const head = 8
	size := head + n*int(unsafe.Sizeof(d.reg[0]))
	if _, err := registerSet(unix.PTRACE_SETREGSET, pid, set, unsafe.Pointer(d), size); err != nil {
		return fmt.Errorf("set debug register: %w", err)
	}
	return nil
}
