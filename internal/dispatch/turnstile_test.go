package dispatch

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// come has n requests of a tenant come to the gate; each tells its tenant when it is let in.
func come(t *testing.T, g *turnstile, tenant string, n int, let chan<- string) {
	for range n {
		go func() {
			if _, err := g.enter(t.Context(), tenant); err == nil {
				let <- tenant
			}
		}()
	}
	synctest.Wait()
}

// working is the clock of a Worker that always has something to do.
func working() func() time.Duration {
	began := time.Now()
	return func() time.Duration { return time.Since(began) }
}

func TestTurnstileTakesTenantsInTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &turnstile{width: 1, cpu: working()}
		first, err := g.enter(t.Context(), "busy")
		if err != nil {
			t.Fatal(err)
		}
		let := make(chan string, 100)
		come(t, g, "busy", 50, let)
		come(t, g, "quiet", 1, let)
		come(t, g, "other", 2, let)
		if len(let) != 0 {
			t.Fatal("more than one is inside")
		}
		first.leave()
		first.leave() // once is enough
		synctest.Wait()
		if len(let) != 1 {
			t.Fatalf("%d were let in for one that left", len(let))
		}
		order := <-let
		for range 5 {
			time.Sleep(attention + glance) // the one inside gets no attention
			order += " " + <-let
		}
		if want := "busy quiet other busy other busy"; order != want {
			t.Errorf("%s, want %s", order, want)
		}
		time.Sleep((attention + glance) * 60)
		if len(let) != 47 {
			t.Errorf("%d were let in at last", len(let))
		}
		synctest.Wait()
		if g.waiting != 0 || len(g.queues) != 0 || len(g.turns) != 0 {
			t.Errorf("left behind: %d, %v, %v", g.waiting, g.queues, g.turns)
		}
	})
}

func TestTurnstileLetsGoOfThoseThatGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &turnstile{width: 1, cpu: working()}
		first, _ := g.enter(t.Context(), "a")
		ctx, cancel := context.WithCancelCause(t.Context())
		went := make(chan error)
		go func() {
			_, err := g.enter(ctx, "a")
			went <- err
		}()
		synctest.Wait()
		why := errors.New("gone")
		cancel(why)
		if err := <-went; !errors.Is(err, why) {
			t.Errorf("it went for %v", err)
		}
		let := make(chan string, 1)
		come(t, g, "b", 1, let)
		first.leave()
		if <-let != "b" || g.inside != 1 {
			t.Errorf("%d inside", g.inside)
		}
		time.Sleep(2 * attention)
	})
}

func TestTurnstileIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &turnstile{width: 1, cpu: working()}
		if _, err := g.enter(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		let := make(chan string, maxWaiting+1)
		come(t, g, "a", maxWaiting, let)
		if _, err := g.enter(t.Context(), "a"); !errors.Is(err, ErrBusy) {
			t.Errorf("one too many: %v", err)
		}
		come(t, g, "b", 1, let) // others still may
		time.Sleep((attention + glance) * (maxWaiting + 10))
	})
}

// What its processes have no work with waits for something else.
func TestTurnstileDoesNotWaitForTheIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &turnstile{width: 2, cpu: func() time.Duration { return 0 }}
		let := make(chan string, 100)
		come(t, g, "a", 100, let)
		if len(let) != 2 {
			t.Errorf("%d are inside", len(let))
		}
		time.Sleep(60 * 2 * glance)
		if len(let) != 100 {
			t.Errorf("%d have been let in", len(let))
		}
	})
}
