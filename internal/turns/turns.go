// Package turns has tenants take turns at something that is done one after the other, such as writes that share a file: who
// asks for a thousand things at once has others wait for one of them.
//
// It is not a lock and does not wait: who does the work asks for what is next.
//
// # Invariant
//
// What one tenant asks for is done in the order in which it was asked for; between two of a tenant's, each other tenant that
// waits has its turn.
//
// # Concurrency
//
// A Queue is not safe for concurrent use: its owner's lock guards it.
package turns

import (
	"slices"
	"time"
)

// Queue is what waits. The zero value is empty. T is compared to tell what is to be removed.
type Queue[T comparable] struct {
	lines map[any]*line[T]
	ring  []*line[T] // those that are not empty; the first has the next turn
	n     int
}

// line is what one tenant waits for.
type line[T comparable] struct {
	whose any
	items []T
}

// Len is how much waits.
func (q *Queue[T]) Len() int { return q.n }

// Push has x wait for a turn of its tenant, who is told by ==.
func (q *Queue[T]) Push(whose any, x T) {
	l := q.lines[whose]
	if l == nil {
		if q.lines == nil {
			q.lines = map[any]*line[T]{}
		}
		l = &line[T]{whose: whose}
		q.lines[whose] = l
		q.ring = append(q.ring, l)
	}
	l.items = append(l.items, x)
	q.n++
}

// Next removes what has its turn; false where nothing waits.
func (q *Queue[T]) Next() (x T, ok bool) {
	if q.n == 0 {
		return x, false
	}
	l := q.ring[0]
	var none T
	x, l.items[0] = l.items[0], none
	l.items = l.items[1:]
	q.n--
	q.ring[0] = nil
	q.ring = q.ring[1:]
	if len(l.items) > 0 {
		q.ring = append(q.ring, l)
	} else {
		delete(q.lines, l.whose)
	}
	return x, true
}

// Remove takes back what was pushed; false where it does not wait any more.
func (q *Queue[T]) Remove(whose any, x T) bool {
	l := q.lines[whose]
	if l == nil {
		return false
	}
	i := slices.Index(l.items, x)
	if i < 0 {
		return false
	}
	l.items = slices.Delete(l.items, i, i+1)
	q.n--
	if len(l.items) == 0 {
		delete(q.lines, whose)
		q.ring = slices.DeleteFunc(q.ring, func(o *line[T]) bool { return o == l })
	}
	return true
}

// Share is for how long things are done together that end in something which takes as long for one as for many, such as a
// commit: as long as that took the last time. Longer would not make much more of the time, and who comes meanwhile has to wait
// for it.
type Share struct{ last time.Duration }

// The bounds of a share. Of much that is done together the commit takes longer, too: without a bound the share would grow with
// what it makes.
const (
	least = time.Millisecond
	most  = 10 * time.Millisecond
)

// Took says how long the end took.
func (s *Share) Took(d time.Duration) { s.last = d }

// Over tells whether what began then has gone on for long enough.
func (s *Share) Over(began time.Time) bool {
	return time.Since(began) > min(max(s.last, least), most)
}
