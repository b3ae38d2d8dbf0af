package terminate

import (
	"bytes"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// Engine is what has to be known of a workerd binary to stop what it runs: where certain functions and variables are.
type Engine struct {
	buildID string
	note    uint64 // address of the build id
	phdr    uint64 // address of the program headers
	size    uint64 // how much memory it takes, from its lowest address on

	funcs [functions]uint64
	// The two thread-local variables are offsets from the thread pointer.
	slot    int64 // IoContext*: the request whose JavaScript the thread runs
	isolate int64 // v8::Isolate*: the isolate it has entered
	counter uint64
	vtable  uint64 // what a context that exists begins with
	idField uint64 // offset of an IoContext's id, a number no other context of the process ever has
	head    uint64 // offset of its list of events in progress, the newest first
	actor   uint64 // offset of its Durable Object, null where it has none
	state   uint64 // offset of what an isolate does at a moment (v8::internal::StateTag, 16 bits); 0: not known
}

// The functions, by their place in Engine.funcs.
const (
	isCurrent          = iota // IoContext::Id::isCurrent: whether the request of that id is running right now
	terminateExecution        // v8::Isolate::TerminateExecution: sets a flag
	cancel                    // v8::Isolate::CancelTerminateExecution
	taken                     // v8's own Isolate::TerminateExecution, which runs when the flag is seen and obeyed
	metrics                   // IoContext::getMetrics: of the newest event
	getActor                  // IoContext::getActorOrThrow
	makeException             // kj::Exception::Exception(Type, const char *file, int line, kj::String description)
	abort                     // IoContext::abort(kj::Exception &&)
	collectGarbage            // v8's own Heap::CollectGarbage
	collect                   // the part of it that runs with the stack's end noted
	functions
)

// symbol says what to do with the value of a symbol.
type symbol struct {
	name []byte
	kind elf.SymType
	set  func(e *Engine, value uint64)

	optional bool
}

// symbols are those needed, in the C++ ABI's spelling.
var symbols = []symbol{
	function("_ZNK7workerd9IoContext2Id9isCurrentEv", isCurrent),
	function("_ZN2v87Isolate18TerminateExecutionEv", terminateExecution),
	function("_ZN2v87Isolate24CancelTerminateExecutionEv", cancel),
	function("_ZN2v88internal7Isolate18TerminateExecutionEv", taken),
	function("_ZN7workerd9IoContext10getMetricsEv", metrics),
	function("_ZN7workerd9IoContext15getActorOrThrowEv", getActor),
	function("_ZN2kj9ExceptionC1ENS0_4TypeEPKciNS_6StringE", makeException),
	function("_ZN7workerd9IoContext5abortEON2kj9ExceptionE", abort),
	ifThere(function(collectGarbageName, collectGarbage)),
	ifThere(function("_ZZ"+collectGarbageName[2:]+"ENK3$_0clEv", collect)),
	{name: []byte("_ZN7workerdL18threadLocalRequestE"), kind: elf.STT_TLS, set: func(e *Engine, v uint64) { e.slot = int64(v) }},
	{name: []byte("_ZN2v88internal18g_current_isolate_E"), kind: elf.STT_TLS, set: func(e *Engine, v uint64) { e.isolate = int64(v) }},
	{name: []byte("_ZTVN7workerd9IoContextE"), kind: elf.STT_OBJECT, set: func(e *Engine, v uint64) { e.vtable = v + 16 }},
	{name: []byte("_ZZN7workerd9IoContext6nextIdEvE7counter"), kind: elf.STT_OBJECT, set: func(e *Engine, v uint64) { e.counter = v }},
}

const collectGarbageName = "_ZN2v88internal4Heap14CollectGarbageENS0_15AllocationSpaceENS0_23GarbageCollectionReasonENS_15GCCallbackFlagsE" +
	"NS_4base11StrongAliasINS0_24PerformHeapLimitCheckTagEbEENS6_INS0_37PerformIneffectiveMarkCompactCheckTagEbEE"

func function(name string, i int) symbol {
	return symbol{name: []byte(name), kind: elf.STT_FUNC, set: func(e *Engine, v uint64) { e.funcs[i] = v }}
}

func ifThere(s symbol) symbol {
	s.optional = true
	return s
}

// Load reads the symbol table of the workerd at path. It fails where the binary is not as expected, which another
// version may not be; then a process can only be killed.
func Load(path string) (*Engine, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open engine: %w", err)
	}
	defer file.Close()
	f, err := elf.NewFile(file)
	if err != nil {
		return nil, fmt.Errorf("open engine: %w", err)
	}
	defer f.Close()
	e, err := load(f, file)
	if err != nil {
		return nil, fmt.Errorf("read engine %s: %w", path, err)
	}
	return e, nil
}

func load(f *elf.File, file *os.File) (*Engine, error) {
	if f.Type != elf.ET_DYN || f.Class != elf.ELFCLASS64 || f.Data != elf.ELFDATA2LSB {
		return nil, errors.New("not a position-independent executable of 64 bits")
	}
	arch, ok := layouts[f.Machine]
	if !ok {
		return nil, fmt.Errorf("%s is not supported", f.Machine)
	}
	e := &Engine{}
	if err := e.findSymbols(f, file); err != nil {
		return nil, err
	}
	var tls *elf.Prog
	for _, p := range f.Progs {
		switch p.Type {
		case elf.PT_LOAD:
			e.size = max(e.size, p.Vaddr+p.Memsz)
		case elf.PT_TLS:
			tls = p
		case elf.PT_PHDR:
			e.phdr = p.Vaddr
		}
	}
	if tls == nil || e.phdr == 0 {
		return nil, errors.New("it lacks a program header")
	}
	e.slot += arch.threadLocals(tls)
	e.isolate += arch.threadLocals(tls)
	note := f.Section(".note.gnu.build-id")
	if note == nil {
		return nil, errors.New("it has no build id")
	}
	id, err := note.Data()
	if err != nil || len(id) <= 16 {
		return nil, fmt.Errorf("read build id: %v", err)
	}
	e.note, e.buildID = note.Addr+16, hex.EncodeToString(id[16:])
	code, err := codeAt(f, e.funcs[isCurrent], 512)
	if err != nil {
		return nil, fmt.Errorf("read code: %w", err)
	}
	if e.idField, ok = arch.idField(code); !ok {
		return nil, errors.New("the code that compares the ids of requests is not as expected")
	}
	if code, err = codeAt(f, e.funcs[metrics], 128); err != nil {
		return nil, fmt.Errorf("read code: %w", err)
	}
	if e.head, ok = arch.headField(code); !ok {
		return nil, errors.New("the code that finds the newest event of a request is not as expected")
	}
	if code, err = codeAt(f, e.funcs[getActor], 128); err != nil {
		return nil, fmt.Errorf("read code: %w", err)
	}
	if e.actor, ok = arch.headField(code); !ok {
		return nil, errors.New("the code that finds the Durable Object of a request is not as expected")
	}
	if arch.stateField != nil {
		e.state = e.findState(f, arch)
	}
	return e, nil
}

// findState returns where an isolate keeps its state, 0 where that is not found: then the collection of garbage is taken for
// the work of the request in which it happens.
func (e *Engine) findState(f *elf.File, arch layout) uint64 {
	outer, err := codeAt(f, e.funcs[collectGarbage], 256)
	if err != nil {
		return 0
	}
	inner, err := codeAt(f, e.funcs[collect], 256)
	if err != nil {
		return 0
	}
	field, _ := arch.stateField(outer, inner)
	return field
}

// layout is what differs between machines in a file.
type layout struct {
	// threadLocals is the distance from the thread pointer to the executable's thread-local variables; see "ELF Handling
	// For Thread-Local Storage" (Ulrich Drepper), chapter 3.
	threadLocals func(tls *elf.Prog) int64
	// idField reads from the code of IoContext::Id::isCurrent where a context keeps its id.
	idField func(code []byte) (uint64, bool)
	// headField reads from the code of a getter of IoContext where a context keeps what is got.
	headField func(code []byte) (uint64, bool)
	// stateField reads from the code of Heap::CollectGarbage, of which inner is a part that is called, where an isolate keeps
	// its state; nil: not known how.
	stateField func(outer, inner []byte) (uint64, bool)
}

var layouts = map[elf.Machine]layout{
	elf.EM_X86_64: {
		threadLocals: func(tls *elf.Prog) int64 { // variant II: they end at the thread pointer
			return -int64(tls.Memsz + (-tls.Vaddr-tls.Memsz)&(tls.Align-1))
		},
		idField:    idFieldAMD64,
		headField:  headFieldAMD64,
		stateField: stateFieldAMD64,
	},
	elf.EM_AARCH64: {
		threadLocals: func(tls *elf.Prog) int64 { // variant I: they follow two words
			return int64(16 + (tls.Vaddr-16)&(tls.Align-1))
		},
		idField:   idFieldARM64,
		headField: headFieldARM64,
	},
}

// findSymbols goes through the table itself: package debug/elf would make a string of each of 280,000 names, and have 60 MB
// of them on the heap.
func (e *Engine) findSymbols(f *elf.File, file *os.File) error {
	table, names := f.Section(".symtab"), f.Section(".strtab")
	if table == nil || names == nil {
		return errors.New("it has been stripped of its symbols")
	}
	entries, unmap, err := mapped(file, table)
	if err != nil {
		return fmt.Errorf("read symbols: %w", err)
	}
	defer unmap()
	text, unmap, err := mapped(file, names)
	if err != nil {
		return fmt.Errorf("read symbol names: %w", err)
	}
	defer unmap()
	missing := slices.Clone(symbols)
	for ; len(entries) >= elf.Sym64Size && len(missing) > 0; entries = entries[elf.Sym64Size:] {
		kind, at := elf.SymType(entries[4]&0xf), f.ByteOrder.Uint32(entries)
		if uint64(at) >= uint64(len(text)) {
			return errors.New("its symbol table is damaged")
		}
		for i, s := range missing {
			rest, ok := bytes.CutPrefix(text[at:], s.name)
			if ok && kind == s.kind && len(rest) > 0 && rest[0] == 0 {
				s.set(e, f.ByteOrder.Uint64(entries[8:]))
				missing = slices.Delete(missing, i, i+1)
				break
			}
		}
	}
	for _, s := range missing {
		if !s.optional {
			return fmt.Errorf("it has no symbol %s", s.name)
		}
	}
	return nil
}

// mapped is the content of a section, until unmap is called.
func mapped(file *os.File, s *elf.Section) (content []byte, unmap func(), err error) {
	info, err := file.Stat()
	if err != nil {
		return nil, nil, err
	}
	end := s.Offset + s.FileSize
	if end < s.Offset || end > uint64(info.Size()) || s.FileSize == 0 || s.Flags&elf.SHF_COMPRESSED != 0 {
		return nil, nil, errors.New("it is damaged or compressed")
	}
	start := s.Offset &^ uint64(os.Getpagesize()-1)
	m, err := unix.Mmap(int(file.Fd()), int64(start), int(end-start), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return nil, nil, fmt.Errorf("mmap: %w", err)
	}
	return m[s.Offset-start:], func() { unix.Munmap(m) }, nil
}

func codeAt(f *elf.File, addr uint64, n int) ([]byte, error) {
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && addr >= p.Vaddr && addr+uint64(n) <= p.Vaddr+p.Filesz {
			code := make([]byte, n)
			_, err := p.ReadAt(code, int64(addr-p.Vaddr))
			return code, err
		}
	}
	return nil, fmt.Errorf("no segment has address %#x", addr)
}
