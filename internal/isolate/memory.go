package isolate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
)

// ErrMemory is why a process was ended that used more memory than it may.
var ErrMemory = errors.New("the memory limit was exceeded")

// DefaultMemory is the memory of an isolate in MiB where nobody says otherwise, as on Cloudflare:
// https://developers.cloudflare.com/workers/platform/limits/#memory
const DefaultMemory = 128

const (
	// engineMemory is the anonymous memory of workerd itself around an isolate, generously, in MiB.
	engineMemory = 40
	// watchEvery is how often the memory of a process in use is looked at. What is allocated between two looks is bounded
	// by RLIMIT_DATA.
	watchEvery = 100 * time.Millisecond
	// idleRounds is at every how many looks those that are not in use are looked at, too.
	idleRounds = 20
	// passing is the memory, in bytes, of a request that waits in a dispatch Worker for its user Worker, measured at 100 KiB.
	passing = 128 << 10
	// engineData is workerd's VmData at rest, most of it reserved and never touched, in MiB.
	engineData = 600
)

// most is the anonymous memory, in MiB, of a process whose isolate may use so many MiB. V8 keeps the JavaScript heap
// within memory exactly. Outside it are ArrayBuffers, WebAssembly memories and the engine's halves of JavaScript objects,
// which stay until V8 collects the garbage they belong to: with V8's own generation sizes a small Worker came to rest at 170
// to 230 MiB, with V8Flags at 76 at the most. So they may be as much again.
func most(memory int) int { return 2*memory + engineMemory }

// dataLimit is the RLIMIT_DATA, in bytes, of a process whose isolate may use so many MiB: what V8 reserves, and so much
// more than the watch allows that it comes first.
func dataLimit(memory int) uint64 { return uint64(engineData+most(memory)+memory) << 20 }

// watchMemory ends the processes that use more memory than they may. V8's own limit covers the JavaScript heap alone;
// ArrayBuffers and WebAssembly memories are outside it.
func (f *Factory) watchMemory(ctx context.Context) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			for _, p := range f.watched(now, n%idleRounds == 0) {
				p.watchPriority(now)
				used, err := anonymous(p.Pid())
				if err == nil && used > p.memoryLimit() {
					p.End(ErrMemory)
				}
			}
		}
	}
}

// memoryLimit is the anonymous memory, in bytes, that the process may use now. A platform Worker has more for each request
// that passes through it: how many those are is up to its tenants, none of whom may end it for all others.
func (p *Process) memoryLimit() int64 {
	limit := int64(most(p.Spec.Memory)) << 20
	if p.Spec.Ref.Namespace == "" {
		holds, _ := p.Load()
		limit += int64(holds) * passing
	}
	return limit
}

// watched returns the processes that hold a request or have done so a moment ago, or all of them: timers and waitUntil work
// go on in those that nobody asks any more.
func (f *Factory) watched(now time.Time, all bool) []*Process {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []*Process
	for s := range f.live {
		p := s.owner.Load()
		if p == nil {
			continue
		}
		if holds, last := p.Load(); all || holds > 0 || now.Sub(last) < time.Second {
			list = append(list, p)
		}
	}
	return list
}

// anonymous returns the bytes of a process's resident anonymous memory: resident less shared pages of proc_pid_statm(5).
func anonymous(pid int) (int64, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(b)
	if len(fields) < 3 {
		return 0, fmt.Errorf("statm of process %d has %d fields", pid, len(fields))
	}
	resident, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return 0, err
	}
	shared, err := strconv.ParseInt(string(fields[2]), 10, 64)
	return (resident - shared) * int64(os.Getpagesize()), err
}

// heapExhausted is in what workerd writes when V8 has reached its heap limit, which ends the process.
var heapExhausted = [][]byte{[]byte("Reached heap limit"), []byte("out of memory")}

// Cause waits until the process has ended, and tells why where the node ended it or its memory ran out; nil otherwise.
func (p *Process) Cause() error {
	<-p.Exited()
	if cause := p.ended.Load(); cause != nil {
		return *cause
	}
	out := p.Output()
	for _, sign := range heapExhausted {
		if bytes.Contains(out, sign) {
			return ErrMemory
		}
	}
	return nil
}

// End kills the process for a reason.
func (p *Process) End(cause error) {
	p.lg.Info("isolate process ended by the node", "script", p.Spec.Ref.String(), "version", p.Spec.Version.ID, "isolate", p.ID, "cause", cause)
	p.ended.CompareAndSwap(nil, &cause)
	p.Kill()
}
