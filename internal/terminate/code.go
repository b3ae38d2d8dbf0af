package terminate

import (
	"bytes"
	"encoding/binary"
)

// IoContext::Id::isCurrent ends in a load of the current context's id and a comparison with its own. These functions
// find that pair of instructions, whatever its registers.

// idFieldAMD64 looks for "mov disp(%base),%r" and then "cmp (%own),%r", as Intel's manual, volume 2, encodes them.
func idFieldAMD64(code []byte) (uint64, bool) {
	const rexW, mov, cmp = 0x48, 0x8b, 0x3b
	for i := 0; i+10 <= len(code); i++ {
		if code[i]&0xf8 != rexW || code[i+1] != mov {
			continue
		}
		mode, reg, base := code[i+2]>>6, code[i+2]>>3&7, code[i+2]&7
		var field uint64
		var next []byte
		switch {
		case base == 4: // a SIB byte follows: not a plain base
			continue
		case mode == 1:
			field, next = uint64(int8(code[i+3])), code[i+4:]
		case mode == 2:
			field, next = uint64(int32(binary.LittleEndian.Uint32(code[i+3:]))), code[i+7:]
		default:
			continue
		}
		if len(next) >= 3 && next[0]&0xf8 == rexW && next[1] == cmp && next[2]>>6 == 0 && next[2]>>3&7 == reg {
			return field, plausible(field)
		}
	}
	return 0, false
}

// idFieldARM64 looks for "ldr xA,[xN,#field]" and "ldr xB,[xM]", in any order, and "cmp" of the two.
func idFieldARM64(code []byte) (uint64, bool) {
	const ldr, ldrMask = 0xf9400000, 0xffc00000 // LDR (immediate), 64 bits, unsigned offset
	const cmp, cmpMask = 0xeb00001f, 0xffe0fc1f // SUBS (shifted register) into XZR
	word := func(i int) uint32 { return binary.LittleEndian.Uint32(code[4*i:]) }
	for i := 0; 4*i+12 <= len(code); i++ {
		a, b, c := word(i), word(i+1), word(i+2)
		if a&ldrMask != ldr || b&ldrMask != ldr || c&cmpMask != cmp {
			continue
		}
		first, second := c>>5&31, c>>16&31
		if !(a&31 == first && b&31 == second || a&31 == second && b&31 == first) {
			continue
		}
		offA, offB := uint64(a>>10&0xfff)*8, uint64(b>>10&0xfff)*8
		if (offA == 0) == (offB == 0) {
			return 0, false
		}
		return offA + offB, plausible(offA + offB)
	}
	return 0, false
}

// headFieldAMD64 looks for "mov disp(%rdi),%rax" and then "test %rax,%rax": the first thing that getMetrics does with its
// context, which %rdi points to, is to take the head of a list.
func headFieldAMD64(code []byte) (uint64, bool) {
	for i := 0; i+10 <= len(code); i++ {
		var field uint64
		next := code[i:]
		switch {
		case bytes.HasPrefix(next, []byte{0x48, 0x8b, 0x47}):
			field, next = uint64(int8(next[3])), next[4:]
		case bytes.HasPrefix(next, []byte{0x48, 0x8b, 0x87}):
			field, next = uint64(int32(binary.LittleEndian.Uint32(next[3:]))), next[7:]
		default:
			continue
		}
		if bytes.HasPrefix(next, []byte{0x48, 0x85, 0xc0}) {
			return field, plausible(field)
		}
	}
	return 0, false
}

// headFieldARM64 looks for "ldr xA,[x0,#field]" and then "cbz xA".
func headFieldARM64(code []byte) (uint64, bool) {
	const ldr, ldrMask = 0xf9400000, 0xffc003e0 // LDR (immediate), 64 bits, unsigned offset from x0
	const cbz, cbzMask = 0xb4000000, 0xff000000
	word := func(i int) uint32 { return binary.LittleEndian.Uint32(code[4*i:]) }
	for i := 0; 4*i+8 <= len(code); i++ {
		a, b := word(i), word(i+1)
		if a&ldrMask == ldr && b&cbzMask == cbz && a&31 == b&31 {
			field := uint64(a>>10&0xfff) * 8
			return field, plausible(field)
		}
	}
	return 0, false
}

// stateFieldAMD64 looks for "movw $GC,-state(%heap)" in the inner code, which notes that garbage is collected, and for
// "lea -isolate(%heap),%rsi" in the outer, which has the isolate around a heap as an argument. Both are at fixed distances from
// the heap, which is a part of its isolate.
func stateFieldAMD64(outer, inner []byte) (uint64, bool) {
	// displacement is that of an instruction's operand, where the next byte says that it is one of 32 bits beside a register.
	displacement := func(code []byte, reg byte) (int32, bool) {
		if len(code) < 5 || code[0]>>6 != 2 || code[0]>>3&7 != reg || code[0]&7 == 4 {
			return 0, false
		}
		return int32(binary.LittleEndian.Uint32(code[1:])), true
	}
	var state, isolate int32
	for i := 0; i+9 <= len(inner) && state == 0; i++ {
		if at, ok := displacement(inner[i+2:], 0); ok && bytes.HasPrefix(inner[i:], []byte{0x66, 0xc7}) && binary.LittleEndian.Uint16(inner[i+7:]) == collecting {
			state = at
		}
	}
	for i := 0; i+7 <= len(outer) && isolate == 0; i++ {
		const rsi = 6
		if at, ok := displacement(outer[i+2:], rsi); ok && bytes.HasPrefix(outer[i:], []byte{0x48, 0x8d}) && at < 0 {
			isolate = at
		}
	}
	field := int64(state) - int64(isolate)
	return uint64(field), state < 0 && isolate < 0 && field > 0 && field < 4096 && field%2 == 0
}

// collecting is the state of an isolate that collects garbage: GC of v8::internal::StateTag.
const collecting = 1

// plausible tells whether an id may be that far into an IoContext.
func plausible(field uint64) bool { return field > 0 && field < 4096 && field%8 == 0 }
