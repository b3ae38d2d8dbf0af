package cron

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestParse(t *testing.T) {
	from := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC) // a Monday
	for _, c := range []struct{ expr, next string }{
		{"* * * * *", "2026-11-23T10:01"},
		{"*/30 * * * *", "2026-11-23T10:30"},
		{"45 * * * *", "2026-11-23T10:45"},
		{"0 17 * * sun", "2026-11-29T17:00"},
		{"0 17 * * 1", "2026-11-29T17:00"},
		{"10 7 * * mon-fri", "2026-11-24T07:10"},
		{"10 7 * * 2-6", "2026-11-24T07:10"},
		{"0 15 1 * *", "2026-12-01T15:00"},
		{"59 23 LW * *", "2026-11-30T23:59"},
		{"0 18 * * 6L", "2026-11-27T18:00"},
		{"0 0 * * 2#1", "2026-12-07T00:00"},
	} {
		e, err := Parse(c.expr)
		if err != nil {
			t.Errorf("%s: %v", c.expr, err)
			continue
		}
		next, err := e.next(from)
		if got := next.Format("2006-01-02T15:04"); err != nil || got != c.next {
			t.Errorf("%s: %s, %v; want %s", c.expr, got, err, c.next)
		}
	}
	for _, bad := range []string{"", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * * * 0", "* * * * 8", "@daily", "TZ=x * * * *", "a b c d e", "0 0 31 2 *"} {
		if _, err := Parse(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("*/5 1-3 LW * MON#2")
	f.Fuzz(func(t *testing.T, s string) {
		if e, err := Parse(s); err == nil && e.String() != s {
			t.Errorf("%q became %q", s, e)
		}
	})
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var fired []string
		c := New(slog.New(slog.DiscardHandler), func(_ context.Context, tr Trigger, at time.Time) error {
			mu.Lock()
			defer mu.Unlock()
			fired = append(fired, string(tr.Script.Name)+at.Format(" 15:04"))
			return nil
		})
		must := func(s string) Expr {
			e, err := Parse(s)
			if err != nil {
				t.Fatal(err)
			}
			return e
		}
		a, b := Trigger{Expr: must("*/2 * * * *")}, Trigger{Expr: must("*/3 * * * *")}
		a.Script.Name, b.Script.Name = "a", "b"
		c.Set([]Trigger{a, b})
		ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute+time.Second)
		defer cancel()
		if err := c.Run(ctx); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if len(fired) != 5 { // synctest's clock starts at midnight: a at 2, 4, 6; b at 3, 6
			t.Errorf("fired %v", fired)
		}
	})
}
