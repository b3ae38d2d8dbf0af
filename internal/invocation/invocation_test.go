package invocation

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestCharge(t *testing.T) {
	var r Registry
	if _, ok := r.Charge(""); ok {
		t.Error("a subrequest of nobody was allowed")
	}
	a := r.Begin(Options{Limits: Limits{SubRequests: 2}})
	b := r.Begin(Options{Limits: Limits{SubRequests: 5}})
	for i := range 3 {
		if inv, ok := r.Charge(a.Tag); inv != a || ok != (i < 2) {
			t.Errorf("charge %d of a: %v", i, ok)
		}
	}
	if inv, ok := r.Charge("forged"); inv != a || ok {
		t.Error("a forged tag paid less than the least")
	}
	if inv, ok := r.Charge(b.Tag); inv != b || !ok {
		t.Error("b cannot spend what is its own")
	}
	if a.SubRequests() != 2 || b.SubRequests() != 1 {
		t.Errorf("used %d and %d", a.SubRequests(), b.SubRequests())
	}
}

func TestTagsAreOfOneProcess(t *testing.T) {
	var p, q Registry
	inv := p.Begin(Options{})
	q.Begin(Options{Limits: Limits{SubRequests: 1}})
	if q.Lookup(inv.Tag) != nil {
		t.Error("a tag is known in another process")
	}
}

func TestEndedInvocationsLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r Registry
		inv := r.Begin(Options{})
		inv.End()
		inv.End()
		time.Sleep(linger)
		if _, ok := r.Charge(inv.Tag); !ok {
			t.Error("waitUntil work cannot send")
		}
		time.Sleep(time.Second)
		if _, ok := r.Charge(inv.Tag); ok || r.Lookup(inv.Tag) != nil {
			t.Error("an invocation outlived its waitUntil time")
		}
	})
}

func TestOnly(t *testing.T) {
	var r Registry
	if r.Only() != nil {
		t.Error("none is one")
	}
	a := r.Begin(Options{})
	if r.Only() != a {
		t.Error("one is not found")
	}
	r.Begin(Options{})
	if r.Only() != nil {
		t.Error("two are one")
	}
}

func TestChargeIsExactUnderConcurrency(t *testing.T) {
	var r Registry
	inv := r.Begin(Options{Limits: Limits{SubRequests: 100}})
	var allowed atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if _, ok := r.Charge(inv.Tag); ok {
					allowed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if allowed.Load() != 100 {
		t.Errorf("%d were allowed", allowed.Load())
	}
}

func TestLowest(t *testing.T) {
	got := Limits{CPU: 5, SubRequests: 0}.Lowest(Limits{CPU: 0, SubRequests: 3}).Lowest(Limits{CPU: 9, SubRequests: 2})
	if got != (Limits{CPU: 5, SubRequests: 2}) {
		t.Errorf("got %+v", got)
	}
}

func TestRayIsTheTagWhereItCanBe(t *testing.T) {
	var r Registry
	ray := NewRay()
	if inv := r.Begin(Options{Ray: ray}); inv.Tag != ray {
		t.Errorf("tag %q of ray %q", inv.Tag, ray)
	}
	for _, bad := range []string{ray, "", "short-ATL", "0123456789ABCDEF-ATL", "0123456789abcdef-XYZ"} {
		if inv := r.Begin(Options{Ray: bad}); inv.Tag == bad || !isRay(inv.Tag) {
			t.Errorf("tag %q of ray %q", inv.Tag, bad)
		}
	}
}
