package terminate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// An event of a Durable Object has nothing in the engine's memory that no other event has: it is an allocation
// (workerd::IoContext_IncomingRequest), and the next one is often made in the same place with the same content. So an event
// that is seen for the first time is given a number. It is kept where the event has the column of the source code that
// delivered it, which the engine sets for each event anew and reads for some of its own log lines only. The thread is
// stopped while the number is written, and the event is in its context's list: it cannot end meanwhile.
type numbers struct {
	at    atomic.Int64 // offset of the source location in an event; 0: not known yet, -1: it cannot be found
	given atomic.Uint32
}

// ErrInDoubt says that the process may have been left stopped.
var ErrInDoubt = errors.New("the process is in doubt")

const (
	// isNumber tells a number from a column.
	isNumber = 1 << 31
	// eventSize is how much of an event is searched for the source location: workerd 2026-11-17 has it at byte 352.
	eventSize = 512
	// columnAt is where a source location that may be missing (kj::Maybe<kj::SourceLocation>) keeps line and column: behind
	// whether there is one, and the names of its file and function.
	columnAt = 24
	// numberWait is how long a thread may take to stop for a number. It uses no processor time before it does.
	numberWait = 30 * time.Second
)

// number is that of an event, 0 where it has none.
func (t *Target) number(event uintptr) (uintptr, error) {
	at := t.numbers.at.Load()
	if at <= 0 {
		return 0, nil
	}
	var w words
	w.want(event+uintptr(at), event+uintptr(at)+columnAt)
	err := w.read(t.pid)
	if errors.Is(err, unix.EFAULT) {
		return 0, nil
	}
	if column := w.value[1] >> 32; err == nil && w.value[0]&0xff == 1 && column&isNumber != 0 {
		return uintptr(column), nil
	}
	return 0, err
}

// numbered is the number of the event that was seen, which is given one where it has none; where that is not possible, it is
// the event's place.
func (t *Target) numbered(seen Sight) (uintptr, error) {
	n, err := t.number(seen.Event)
	if n != 0 || err != nil {
		return n, err
	}
	result := seen.Event
	if t.numbers.at.Load() < 0 {
		return result, nil
	}
	give := func() error {
		n, err := t.give(seen)
		if n != 0 {
			result = n
		}
		return err
	}
	if t.held.Load() { // whoever looks has stopped it
		err = give()
	} else {
		err = t.stoppedWithin(numberWait, func(*stop) error { return give() })
	}
	switch {
	case errors.Is(err, errLate):
		return result, fmt.Errorf("number an event: %w: %w", ErrInDoubt, err)
	case errors.Is(err, ErrGone):
		return result, err
	case err != nil:
		t.numbers.at.Store(-1)
	}
	return result, nil
}

// give numbers the event that was seen, if it is in progress still. The thread is stopped.
func (t *Target) give(seen Sight) (uintptr, error) {
	var w words
	w.want(t.slot(), seen.Place+uintptr(t.engine.idField), seen.Place+uintptr(t.engine.head))
	if err := w.read(t.pid); err != nil {
		return 0, ignoreFault(err)
	}
	if uintptr(w.value[0]) != seen.Place || Context(w.value[1]+1) != seen.Current || uintptr(w.value[2]) != seen.Event {
		return 0, nil
	}
	at := t.numbers.at.Load()
	if at == 0 {
		b := make([]byte, eventSize)
		if err := t.read(b, seen.Event); err != nil {
			return 0, err
		}
		var ok bool
		if at, ok = findLocation(b, uint64(t.base), uint64(t.base)+t.engine.size); !ok {
			return 0, errors.New("an event is not as expected")
		}
		t.numbers.at.Store(at)
	}
	n := isNumber | t.numbers.given.Add(1)
	return uintptr(n), t.write(seen.Event+uintptr(at)+columnAt+4, binary.NativeEndian.AppendUint32(nil, n))
}

// findLocation finds the one place in an event that looks like a source location: a flag, two pointers to strings of the
// executable, which is in memory from low to high, and a line and a column.
func findLocation(event []byte, low, high uint64) (at int64, ok bool) {
	word := func(i int) uint64 { return binary.NativeEndian.Uint64(event[i:]) }
	inside := func(p uint64) bool { return p >= low && p < high }
	for i := 8; i+columnAt+8 <= len(event); i += 8 { // the context comes first
		where := word(i + columnAt)
		line, column := uint32(where), where>>32
		if event[i] != 1 || !inside(word(i+8)) || !inside(word(i+16)) || line == 0 || line > 1<<16 || column > 1<<10 {
			continue
		}
		if ok {
			return 0, false
		}
		at, ok = int64(i), true
	}
	return at, ok
}

func ignoreFault(err error) error {
	if errors.Is(err, unix.EFAULT) {
		return nil
	}
	return err
}
