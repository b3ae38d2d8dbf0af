package engine

import (
	"slices"
	"unsafe"

	sqlite3 "modernc.org/sqlite/lib"
)

// program is what a statement's bytecode (https://sqlite.org/opcode.html) tells of the rows it reads and writes.
//
// Cloudflare counts both in a patched SQLite: a row is read by each step onto one (Rewind, Last, Seek..., NotExists, Next,
// Prev), and written by each insert into a table or an index and by each delete of a row. The library has a counter for
// every successful Next and Prev, chosen by an operand, and one for every Sort; and since Sort is Rewind with a counter, each
// Rewind is made one. What has no counter is counted once where it is outside of all loops, and inside as often as the
// innermost loop goes round, which is too much where a condition skips it. Writes go by the number of changes, which is
// exact, times those that one change makes.
type program struct {
	schema    bool
	slots     []uint16 // the counters of Next and Prev
	loops     []loop
	seeks     []int // steps without a counter: the loop of each, -1 outside
	rewind    []int // steps that get one, likewise
	stray     []int // writes that are not part of a change, likewise
	index     []int // writes into indexes, likewise
	counts    []int32
	counted   int64
	seen      bool
	main, sub changes
	subSeeks  int
}

// changes are the instructions that write, and those among them that stand for one change each.
type changes struct{ writes, changers int }

// loop is a range of instructions that ends in a jump back.
type loop struct {
	from, to int32
	slot     uint16 // the counter of its rounds
	counted  bool
	parent   int
}

// Flags in operands, from SQLite's vdbe.h.
const (
	flagChange = 0x01 // OPFLAG_NCHANGE
	flagNoop   = 0x40 // OPFLAG_ISNOOP
)

// op returns the i-th instruction at base.
func op(base uintptr, i int32) *sqlite3.TVdbeOp {
	return at[sqlite3.TVdbeOp](base + uintptr(i)*unsafe.Sizeof(sqlite3.TVdbeOp{}))
}

// read analyses a statement that was just prepared, and gives its loops counters.
func (p *program) read(s *Stmt) {
	v := at[sqlite3.TVdbe](s.p)
	*p = program{counted: p.counted}
	if sqlite3.Xsqlite3_stmt_isexplain(s.c.tls, s.p) != 0 {
		return // nothing of it runs
	}
	p.slots = []uint16{0, sqlite3.SQLITE_STMTSTATUS_FULLSCAN_STEP, sqlite3.SQLITE_STMTSTATUS_AUTOINDEX,
		sqlite3.SQLITE_STMTSTATUS_FILTER_HIT, sqlite3.SQLITE_STMTSTATUS_FILTER_MISS}
	for i := range v.FnOp {
		if op(v.FaOp, i).Fopcode == sqlite3.OP_Filter { // it counts with the last two
			p.slots = p.slots[:3]
			break
		}
	}
	p.findLoops(v.FaOp, v.FnOp)
	p.code(v.FaOp, v.FnOp, true, map[uintptr]bool{})
}

func (p *program) findLoops(base uintptr, n int32) {
	used := 0
	for i := range n {
		o := op(base, i)
		switch o.Fopcode {
		case sqlite3.OP_Next, sqlite3.OP_Prev, sqlite3.OP_SorterNext:
			slot := p.slots[min(used, len(p.slots)-1)]
			used++
			o.Fp5 = slot
			p.loops = append(p.loops, loop{from: o.Fp2, to: i, slot: slot, counted: true})
		case sqlite3.OP_VNext, sqlite3.OP_Goto:
			if o.Fp2 > 0 && o.Fp2 <= i && !p.start(base, o.Fp2, n) {
				p.loops = append(p.loops, loop{from: o.Fp2, to: i})
			}
		}
	}
	for i := range p.loops {
		p.loops[i].parent = p.around(p.loops[i].from, p.loops[i].to)
	}
}

// start tells whether a jump to an instruction is the one that every program begins with: from its end, where it opens its
// transaction, back to the beginning.
func (p *program) start(base uintptr, to, n int32) bool {
	first := op(base, 0)
	return to == 1 && first.Fopcode == sqlite3.OP_Init && first.Fp2 < n
}

// around returns the innermost loop that has the range in it, and is not the range; -1 where there is none.
func (p *program) around(from, to int32) int {
	best := -1
	for i, l := range p.loops {
		if l.from <= from && l.to >= to && (l.from != from || l.to != to) &&
			(best < 0 || l.to-l.from < p.loops[best].to-p.loops[best].from) {
			best = i
		}
	}
	return best
}

func (p *program) code(base uintptr, n int32, main bool, seen map[uintptr]bool) {
	seen[base] = true
	ephemeral := map[int32]bool{}
	for i := range n {
		switch o := op(base, i); o.Fopcode {
		case sqlite3.OP_OpenEphemeral, sqlite3.OP_OpenAutoindex, sqlite3.OP_SorterOpen, sqlite3.OP_OpenPseudo, sqlite3.OP_OpenDup:
			ephemeral[o.Fp1] = true
		}
	}
	for i := range n {
		o := op(base, i)
		in := -1
		if main {
			in = p.around(i, i)
		}
		switch o.Fopcode {
		case sqlite3.OP_Rewind:
			o.Fopcode = sqlite3.OP_Sort
			if main {
				p.rewind = append(p.rewind, in)
			}
		case sqlite3.OP_SeekLT, sqlite3.OP_SeekLE, sqlite3.OP_SeekGE, sqlite3.OP_SeekGT, sqlite3.OP_SeekRowid, sqlite3.OP_NotExists,
			sqlite3.OP_Last:
			if main {
				p.seeks = append(p.seeks, in)
			} else {
				p.subSeeks++
			}
		case sqlite3.OP_Count:
			if main && in < 0 && o.Fp3 == 0 {
				p.counts = append(p.counts, o.Fp2)
			}
		case sqlite3.OP_ParseSchema, sqlite3.OP_DropTable, sqlite3.OP_DropIndex, sqlite3.OP_DropTrigger, sqlite3.OP_VCreate,
			sqlite3.OP_VDestroy, sqlite3.OP_SetCookie:
			p.schema = true
		case sqlite3.OP_Program:
			if sub := at[sqlite3.TSubProgram](*(*uintptr)(unsafe.Pointer(&o.Fp4))); !seen[sub.FaOp] {
				p.code(sub.FaOp, sub.FnOp, false, seen)
			}
		default:
			p.write(o, in, main, ephemeral)
		}
	}
}

// write counts an instruction that writes a row.
func (p *program) write(o *sqlite3.TVdbeOp, in int, main bool, ephemeral map[int32]bool) {
	change, stray := false, false
	switch o.Fopcode {
	case sqlite3.OP_Insert:
		if ephemeral[o.Fp1] || o.Fp5&flagNoop != 0 {
			return
		}
		change = o.Fp5&flagChange != 0
		stray = !change
	case sqlite3.OP_IdxInsert:
		if ephemeral[o.Fp1] {
			return
		}
		change = o.Fp5&flagChange != 0
		if main {
			p.index = append(p.index, in)
		}
	case sqlite3.OP_Delete:
		if change = o.Fp2&flagChange != 0; !change {
			return
		}
	case sqlite3.OP_Clear:
		if change = o.Fp3 != 0; !change {
			return
		}
	case sqlite3.OP_VUpdate:
		change = true
	default:
		return
	}
	if stray && main {
		p.stray = append(p.stray, in)
		return
	}
	c := &p.sub
	if main {
		c = &p.main
	}
	c.writes++
	if change {
		c.changers++
	}
}

// atRow notes what OP_Count has counted, while its registers are there.
func (p *program) atRow(s *Stmt) {
	if p.seen || len(p.counts) == 0 {
		return
	}
	p.seen = true
	v := at[sqlite3.TVdbe](s.p)
	for _, reg := range p.counts {
		mem := v.FaMem + uintptr(reg)*unsafe.Sizeof(sqlite3.TMem{})
		if at[sqlite3.TMem](mem).Fflags&sqlite3.MEM_Int != 0 {
			p.counted += *at[int64](mem)
		}
	}
}

// Rows are how many rows a run of a statement has read and written.
type Rows struct{ Read, Written int64 }

// Rows returns the counts of the run that has ended, and begins anew. The changes are those of the statement itself, and
// those of its triggers and foreign keys.
func (s *Stmt) Rows(changes, byTriggers int64) Rows {
	p := &s.program
	v := at[sqlite3.TVdbe](s.p)
	var r Rows
	again := v.FaCounter[sqlite3.SQLITE_STMTSTATUS_REPREPARE] != 0
	if again { // SQLite has made other bytecode of it, for the values that were bound
		v.FaCounter[sqlite3.SQLITE_STMTSTATUS_REPREPARE] = 0
		p.read(s)
	}
	rounds := make([]int64, len(v.FaCounter))
	for slot := range rounds {
		if !slices.Contains(p.slots, uint16(slot)) {
			continue
		}
		rounds[slot] = int64(v.FaCounter[slot])
		r.Read += rounds[slot]
		v.FaCounter[slot] = 0
	}
	r.Read += int64(v.FaCounter[sqlite3.SQLITE_STMTSTATUS_SORT]) + p.counted
	v.FaCounter[sqlite3.SQLITE_STMTSTATUS_SORT] = 0
	p.counted, p.seen = 0, false
	for _, in := range p.seeks {
		r.Read += p.times(in, rounds, changes)
	}
	for _, in := range p.rewind {
		if again {
			r.Read += p.times(in, rounds, changes)
		}
	}
	r.Read += int64(p.subSeeks) * changes
	r.Written = p.main.of(changes) + p.sub.of(byTriggers)
	for _, in := range p.stray {
		r.Written += p.times(in, rounds, changes)
	}
	if p.main.changers == 0 { // such as CREATE INDEX
		for _, in := range p.index {
			r.Written += p.times(in, rounds, changes)
		}
	}
	return r
}

// times is how often an instruction in a loop is taken to have run. A loop without a counter takes rows from a coroutine or
// a list, to change them.
func (p *program) times(in int, rounds []int64, changes int64) int64 {
	if in < 0 {
		return 1
	}
	l := p.loops[in]
	if !l.counted {
		return max(changes, p.times(l.parent, rounds, changes))
	}
	return rounds[l.slot] + p.times(l.parent, rounds, changes)
}

func (c changes) of(n int64) int64 {
	if c.changers == 0 {
		return 0
	}
	return n * int64(c.writes) / int64(c.changers)
}
