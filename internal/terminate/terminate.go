// Package terminate stops the JavaScript that a workerd process is running for one request, and nothing else: other
// requests of the same isolate go on, globals stay, and the code that is stopped cannot catch it.
//
// V8 can be asked to end what it executes, but workerd never asks, so a [Target] does it from outside: it stops the
// process's main thread by ptrace(2), makes sure that the thread is running that very request, and has it call V8's
// function. An [Engine] knows where the functions are. [Target.Current] tells which request is running, without a stop.
// The package does not decide whom to stop, and does not kill: package limits does.
//
// # Invariant
//
// A request is ended only if it was current inside the stop, by workerd's own check. No termination is left pending to
// hit a later request: the thread stays traced until V8 has obeyed and workerd has left the request, or until the caller
// gives up, and then what is pending is cancelled before the thread takes another step. A watchpoint on the variable that
// says which request is current tells when it is left.
//
// # Concurrency
//
// Everything may be called concurrently; stops of one process take turns. ptrace belongs to a thread, so each stop locks
// its goroutine to one from the first call to the last. Whoever else watches the process must not wait(2) for it before it
// has ended, since a wait would take the stops: package sandbox watches by pidfd.
package terminate

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Outcome is what came of a termination.
type Outcome int

const (
	// Absent: the request was not running. It has not been touched.
	Absent Outcome = iota
	// Terminated: V8 has ended the request's JavaScript.
	Terminated
	// Missed: the request left its JavaScript by itself just then.
	Missed
	// Overdue: the request is in something that cannot be interrupted, such as a long built-in function. Nothing is
	// pending; the process can only be killed.
	Overdue
)

func (o Outcome) String() string {
	return [...]string{"absent", "terminated", "missed", "overdue"}[o]
}

// ErrNoWatch says that the machine has no hardware watchpoints to give. Nothing has been touched.
var ErrNoWatch = errors.New("no hardware watchpoint to be had")

// Terminate ends the request want if its JavaScript is running right now, and if the caller still wants it to when the
// thread has been stopped: only then is the process's clock up to date, and over, unless nil, is asked. It returns when V8
// has obeyed and the request is left, or soon after late, which is called about once a millisecond, returns true. After an
// error that is neither ErrGone nor ErrNoWatch the process is in doubt, and should be killed.
func (t *Target) Terminate(want Context, over, late func() bool) (Outcome, error) {
	if want == None {
		return Absent, nil
	}
	outcome := Absent
	err := t.stopped(func(s *stop) error {
		// Most of the time it takes no call to see that it is too late.
		if wanted, err := t.stillWanted(want, over); err != nil || !wanted {
			return err
		}
		present, err := s.isCurrent(want)
		if err != nil || !present {
			return err
		}
		outcome, err = s.end(late)
		return err
	})
	if err != nil {
		return outcome, fmt.Errorf("terminate request in process %d: %w", t.pid, err)
	}
	return outcome, nil
}

// stillWanted tells whether the request want runs and is to be ended. The thread is stopped.
func (t *Target) stillWanted(want Context, over func() bool) (bool, error) {
	t.held.Store(true)
	defer t.held.Store(false)
	now, err := t.Current()
	return err == nil && now == want && (over == nil || over()), err
}

// isCurrent asks workerd whether the thread runs the request want.
func (s *stop) isCurrent(want Context) (bool, error) {
	result, err := s.call(isCurrent, uint64(want-1))
	return result&1 == 1, err // a bool is the lowest byte
}

// end has V8 asked to end what it runs, and lets the thread go on until it has.
func (s *stop) end(late func() bool) (Outcome, error) {
	isolate, err := s.t.readWord(s.t.isolate())
	if err != nil || isolate == 0 {
		return Absent, err
	}
	// Before V8 is asked: without watchpoints nothing may be pending.
	if err := s.watch(s.t.slot(), s.t.function(taken)); err != nil {
		return Absent, fmt.Errorf("%w: %w", ErrNoWatch, err)
	}
	if _, err := s.call(terminateExecution, isolate); err != nil {
		return Absent, err
	}
	// Built-in functions such as structuredClone obey in a way of their own, which shows when workerd asks once more.
	if err := s.watch(s.t.slot(), s.t.function(taken), s.t.function(terminateExecution)); err != nil {
		return Absent, err
	}
	outcome, err := s.follow(late, isolate)
	if err != nil {
		return outcome, err
	}
	if err := s.watch(0); err != nil {
		return outcome, err
	}
	_, err = s.call(cancel, isolate)
	return outcome, err
}

// follow lets the thread run, passing its signals on, until V8 has obeyed and the thread has left the isolate, or has left
// the request before V8 came to it. It ends in a stop.
//
// Once V8 has obeyed there may still be something to cancel: when it has caught the termination, workerd asks for another
// one, so that none of the request's microtasks runs, and where there are none it stays pending.
func (s *stop) follow(late func() bool, isolate uint64) (Outcome, error) {
	outcome, signal := Missed, unix.Signal(0)
	for {
		event, err := s.resume(late, signal)
		givenUp := errors.Is(err, errLate)
		if givenUp {
			event, err = s.interrupt()
		}
		signal = event.signal
		switch {
		case err != nil:
			return outcome, err
		case event.kind == interrupted && givenUp:
			if outcome == Missed {
				outcome = Overdue
			}
			return outcome, nil
		case event.kind != trapped: // a signal to be taken, or a SIGCONT that tells tracers of itself
			continue
		}
		pc, err := s.pc()
		switch {
		case err != nil:
			return outcome, err
		case pc == s.t.function(taken), pc == s.t.function(terminateExecution):
			if outcome == Missed {
				err = s.abort()
			}
			outcome = Terminated
			if err == nil {
				err = s.watch(s.t.isolate())
			}
		case outcome == Missed: // the request is no longer current
			return outcome, nil
		default:
			var now uint64
			if now, err = s.written(s.t.isolate()); err == nil && now != isolate {
				return outcome, nil
			}
		}
		if err != nil {
			return outcome, err
		}
	}
}

// scratchSize is memory for a kj::Exception, which has some 450 bytes (kj/exception.h), and a kj::String behind it.
const scratchSize, exceptionSize = 4 << 10, 3 << 10

// abort has workerd abort the request that is current where it is a Durable Object's. Of other requests workerd finds out
// by itself that they have come to nothing once V8 has ended what they run; of an object it is thought that another event may
// still go on with what an earlier one has begun, so callers would wait for ever. The thread is in V8, on its way out of
// JavaScript: a function of the engine may be called as one that the JavaScript calls.
func (s *stop) abort() error {
	context, err := s.t.readWord(s.t.slot())
	if err != nil || context == 0 {
		return err
	}
	object, err := s.t.readWord(uintptr(context) + uintptr(s.t.engine.actor))
	if err != nil || object == 0 {
		return err
	}
	if err := s.watch(0); err != nil {
		return err
	}
	if err := s.borrow(); err != nil {
		return err
	}
	exception := s.scratch()
	if err := s.t.write(uintptr(exception), make([]byte, scratchSize)); err != nil {
		return err
	}
	// The name of a file must outlast the exception. The size of the build id's name, 4, ends in zeros: an empty name.
	file := uint64(s.t.base) + s.t.engine.note - 15
	const failed = 0
	if err := s.callWith(makeException, exception, failed, file, 0, exception+exceptionSize); err != nil {
		return err
	}
	return s.callWith(abort, context, exception)
}
