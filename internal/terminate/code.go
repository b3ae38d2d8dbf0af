package terminate

import "encoding/binary"

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

// plausible tells whether an id may be that far into an IoContext.
func plausible(field uint64) bool { return field > 0 && field < 4096 && field%8 == 0 }
