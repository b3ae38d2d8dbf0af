package isolate

import (
	"context"
	"time"
)

const (
	// refillAfter is how long after the last take spares that are missing are made, while some are left: to make one takes a
	// processor for 20 ms, which the request that took the last one has better use for.
	refillAfter = 100 * time.Millisecond
	// maxSpares bounds how many spares demand can ask for.
	maxSpares = 16
	// calmAfter is how long the spares must have sufficed until fewer are kept again.
	calmAfter = time.Minute
)

// demand says how many spares to keep: twice as many whenever they have run out, and half as many when they have sufficed
// for a while.
type demand struct {
	least int
	want  int
	taken time.Time // last
	dry   time.Time // when they last ran out, or were last made fewer
}

// take notes that one of so many spares is taken.
func (d *demand) take(have int, now time.Time) {
	d.taken = now
	if have == 0 {
		d.want, d.dry = min(2*d.want, max(maxSpares, d.least)), now
	}
}

// missing returns how many spares to make (or, negative, to end) where there are so many, and otherwise how long to wait
// for an answer that may be another.
func (d *demand) missing(have int, now time.Time) (n int, wait time.Duration) {
	if d.want > d.least && now.Sub(d.dry) >= calmAfter {
		d.want, d.dry = max(d.want/2, d.least), now
	}
	if have != d.want {
		patience := refillAfter - now.Sub(d.taken)
		if have == 0 || have > d.want || patience <= 0 {
			return d.want - have, 0
		}
		return 0, patience
	}
	return 0, calmAfter
}

// keepSpares keeps the spare processes until ctx is done.
func (f *Factory) keepSpares(ctx context.Context) {
	rehearsed := f.opts.Spares == 0
	for ctx.Err() == nil {
		f.mu.Lock()
		n, wait := f.demand.missing(len(f.spares), time.Now())
		var surplus []*spare
		if n < 0 {
			surplus = f.spares[len(f.spares)+n:]
			f.spares = f.spares[:len(f.spares)+n]
		}
		f.mu.Unlock()
		for _, s := range surplus {
			s.proc.Kill()
		}
		if n > 0 {
			s, err := f.spawn(f.opts.Memory, false, disks{})
			if err == nil {
				f.mu.Lock()
				f.spares = append(f.spares, s)
				f.mu.Unlock()
				f.group.Go(func() error { f.warm(s); return nil })
				continue
			}
			f.lg.Error("cannot start a spare process", "err", err)
			wait = time.Second
		}
		if wait == 0 {
			continue
		}
		if !rehearsed {
			rehearsed = true
			f.group.Go(f.rehearse)
		}
		select {
		case <-ctx.Done():
		case <-f.wake:
		case <-time.After(wait):
		}
	}
}

// take returns a spare process, or nil.
func (f *Factory) take() *spare {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.demand.take(len(f.spares), time.Now())
	select {
	case f.wake <- struct{}{}:
	default:
	}
	for len(f.spares) > 0 {
		s := f.spares[0]
		f.spares = f.spares[1:]
		select {
		case <-s.proc.Done(): // it died waiting
		default:
			return s
		}
	}
	return nil
}
