package dispatch

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/isolate"
)

// busy is the part of the time from which on a process that runs or waits to run is not enough for its script.
const busy = 0.7

// Run looks after the processes until ctx is done: it stops the idle, least recently used first when memory is short, and
// starts more where a script keeps its processes busy.
func (d *Dispatcher) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	defer d.alarmLooks.runs.Wait()
	seen := map[*isolate.Process]usage{}
	var cpu processors
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			seen = d.scale(seen, now, cpu.idle() > d.opts.MinIdle)
			d.stopIdle(ctx, now, memoryShort(d.opts.MinMemory))
		}
	}
}

type usage struct {
	wanted time.Duration
	when   time.Time
}

// demand is how long a process's main thread, the one that runs JavaScript, has run or waited to run: the first two fields
// of /proc/PID/schedstat. Time waited counts, or a busy machine would make a busy script look idle.
func demand(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
	if err != nil {
		return 0, err
	}
	var ran, waited time.Duration
	_, err = fmt.Sscan(string(b), &ran, &waited)
	return ran + waited, err
}

// processors tells how busy the machine is.
type processors struct{ rested, all uint64 }

// idle returns the part of the time since the last call that the machine's processors were idle, by the first line of
// /proc/stat, proc_stat(5).
func (c *processors) idle() float64 {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	var now processors
	for i, f := range bytes.Fields(line) {
		n, err := strconv.ParseUint(string(f), 10, 64)
		switch {
		case err != nil || i > 8: // the name; guests are counted in user time already
		case i == 4 || i == 5: // idle, iowait
			now.rested += n
			fallthrough
		default:
			now.all += n
		}
	}
	before := *c
	*c = now
	if now.all == before.all {
		return 0
	}
	return float64(now.rested-before.rested) / float64(now.all-before.all)
}

// scale starts one more process of each kind whose processes were all busy since the last look, where the machine has
// processors for it: on a busy one it would only compete with the others.
func (d *Dispatcher) scale(before map[*isolate.Process]usage, now time.Time, roomy bool) map[*isolate.Process]usage {
	after := map[*isolate.Process]usage{}
	for _, s := range d.all() {
		for k, procs := range s.kinds() {
			allBusy := len(procs) < d.opts.MaxPerCores
			for _, p := range procs {
				if holds, last := p.Load(); holds == 0 && now.Sub(last) > 2*time.Second {
					allBusy = false
					continue // asleep: not worth a system call
				}
				wanted, err := demand(p.Pid())
				if err != nil {
					allBusy = false
					continue
				}
				wanted -= p.Meter.Lost() // with another process a script at its limit would only lose more
				after[p] = usage{wanted, now}
				was, ok := before[p]
				allBusy = allBusy && ok && float64(wanted-was.wanted) > busy*float64(now.Sub(was.when))
			}
			if allBusy && roomy && len(procs[0].Spec.Classes) == 0 && s.mayStart(k.version) {
				if err := d.add(s, k); err != nil {
					d.lg.Warn("cannot start another process", "script", s.ref.String(), "err", err)
				}
			}
		}
	}
	return after
}

// kinds returns the script's processes of its active version, by what they differ by.
func (s *script) kinds() map[kind][]*isolate.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[kind][]*isolate.Process{}
	for _, p := range s.procs {
		if k := (kind{s.version, p.CPU, p.Outbound}); s.version != nil && k.of(p) {
			out[k] = append(out[k], p)
		}
	}
	return out
}

// mayStart reserves the start of one more process, unless one is in progress or the version is no longer active.
func (s *script) mayStart(version *atoll.Version) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.starting != nil || s.version != version {
		return false
	}
	s.starting = make(chan struct{})
	return true
}

// stopIdle retires processes that have been idle for long, and while memory is short the least recently used of all that
// hold nothing. Scripts that nobody has asked for and that have no process are forgotten.
func (d *Dispatcher) stopIdle(ctx context.Context, now time.Time, short bool) {
	type idle struct {
		s    *script
		p    *isolate.Process
		last time.Time
	}
	var rest []idle
	d.alarmLooks.prune()
	for _, s := range d.all() {
		s.mu.Lock()
		procs, unused := slices.Clone(s.procs), now.Sub(s.lastUse) > d.opts.IdleAfter
		s.mu.Unlock()
		if len(procs) == 0 && unused {
			d.forget(s)
		}
		for _, p := range procs {
			holds, last := p.Load()
			switch {
			case holds > 0:
			case now.Sub(last) > d.opts.IdleAfter:
				if !d.alarmed(ctx, p, now) {
					d.stop(s, p)
				}
			case short && !d.alarmed(ctx, p, now):
				rest = append(rest, idle{s, p, last})
			}
		}
	}
	slices.SortFunc(rest, func(a, b idle) int { return a.last.Compare(b.last) })
	for _, r := range rest[:(len(rest)+3)/4] { // a quarter a second, until there is enough
		d.stop(r.s, r.p)
	}
}

// stop takes a process off its script and retires it. A request that has just taken hold of it is still served.
func (d *Dispatcher) stop(s *script, p *isolate.Process) {
	s.remove(p)
	d.retire(p)
}

func (d *Dispatcher) all() []*script {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := make([]*script, 0, len(d.scripts))
	for _, s := range d.scripts {
		list = append(list, s)
	}
	return list
}

// memoryShort tells whether less than the given part of the machine's memory is available, by MemAvailable of proc(5).
func memoryShort(part float64) bool {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return false
	}
	var total, available float64
	for sc := bufio.NewScanner(bytes.NewReader(b)); sc.Scan(); {
		f := bytes.Fields(sc.Bytes())
		if len(f) < 2 {
			continue
		}
		n, _ := strconv.ParseFloat(string(f[1]), 64)
		switch string(f[0]) {
		case "MemTotal:":
			total = n
		case "MemAvailable:":
			available = n
		}
	}
	return available < part*total
}
