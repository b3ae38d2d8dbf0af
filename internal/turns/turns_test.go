package turns

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func all(q *Queue[string]) string {
	var got []string
	for x, ok := q.Next(); ok; x, ok = q.Next() {
		got = append(got, x)
	}
	return strings.Join(got, " ")
}

func TestQueue(t *testing.T) {
	for _, c := range []struct{ name, pushed, removed, want string }{
		{"nothing", "", "", ""},
		{"one-tenant", "a1 a2 a3", "", "a1 a2 a3"},
		{"a-flood", "a1 a2 a3 a4 b1", "", "a1 b1 a2 a3 a4"},
		{"three", "a1 a2 a3 b1 c1 c2", "", "a1 b1 c1 a2 c2 a3"},
		{"removed", "a1 a2 b1 b2", "a1 b2", "a2 b1"},
		{"all-of-one-removed", "a1 b1 b2 a2", "b1 b2", "a1 a2"},
		{"not-there", "a1", "a2 b1", "a1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var q Queue[string]
			for _, x := range strings.Fields(c.pushed) {
				q.Push(x[0], x)
			}
			for _, x := range strings.Fields(c.removed) {
				if got := q.Remove(x[0], x); got != strings.Contains(c.pushed, x) {
					t.Errorf("remove %s: %v", x, got)
				}
			}
			if n := len(strings.Fields(c.want)); q.Len() != n {
				t.Errorf("%d wait, want %d", q.Len(), n)
			}
			if got := all(&q); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if len(q.lines)+len(q.ring)+q.Len() != 0 {
				t.Errorf("left: %+v", q)
			}
		})
	}
}

// Nobody has two turns while somebody else who waits has none, and nothing is lost.
func TestQueueModel(t *testing.T) {
	type item struct{ whose, n int }
	dice := rand.New(rand.NewPCG(1, 2))
	var q Queue[item]
	waiting := map[int][]item{}
	since := map[int]map[int]int{} // turns of others since a tenant has waited or had its last
	for n := range 20_000 {
		whose := dice.IntN(1 + dice.IntN(6))
		switch dice.IntN(5) {
		case 0, 1:
			q.Push(whose, item{whose, n})
			if waiting[whose] = append(waiting[whose], item{whose, n}); len(waiting[whose]) == 1 {
				since[whose] = map[int]int{}
			}
		case 2:
			if list := waiting[whose]; len(list) > 0 {
				i := dice.IntN(len(list))
				if !q.Remove(whose, list[i]) {
					t.Fatal("it is not there")
				}
				waiting[whose] = append(list[:i:i], list[i+1:]...)
			}
		default:
			x, ok := q.Next()
			if !ok {
				continue
			}
			if list := waiting[x.whose]; len(list) == 0 || list[0] != x {
				t.Fatalf("got %v of %v", x, list)
			}
			waiting[x.whose] = waiting[x.whose][1:]
			since[x.whose] = map[int]int{}
			for other, list := range waiting {
				if other == x.whose || len(list) == 0 {
					continue
				}
				if since[other][x.whose]++; since[other][x.whose] > 1 {
					t.Fatalf("%d has had two turns while %d waits", x.whose, other)
				}
			}
		}
	}
	left := 0
	for _, list := range waiting {
		left += len(list)
	}
	if q.Len() != left {
		t.Errorf("%d wait, want %d", q.Len(), left)
	}
}

func TestShare(t *testing.T) {
	for _, c := range []struct {
		took, since time.Duration
		over        bool
	}{
		{0, 500 * time.Microsecond, false}, {0, 2 * time.Millisecond, true},
		{time.Minute, 5 * time.Millisecond, false}, {time.Minute, 20 * time.Millisecond, true},
		{5 * time.Millisecond, 3 * time.Millisecond, false}, {5 * time.Millisecond, 8 * time.Millisecond, true},
	} {
		t.Run(fmt.Sprint(c.took, "-", c.since), func(t *testing.T) {
			var s Share
			s.Took(c.took)
			if got := s.Over(time.Now().Add(-c.since)); got != c.over {
				t.Errorf("over: %v", got)
			}
		})
	}
}
