package binding

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"atoll.dev/atoll/internal/dispatch"
	"atoll.dev/atoll/internal/isolate"
)

// The two sides of a session meet whichever comes first, once, and at the process that it is for.
func TestSessions(t *testing.T) {
	a, b := &isolate.Process{}, &isolate.Process{}
	none := func() { t.Error("a session that was claimed is lost") }
	synctest.Test(t, func(t *testing.T) {
		var ss sessions
		ctx := t.Context()
		told := offer{entrypoint: "E"}
		if err := ss.tell(sessionKey{a, "1"}, told, nil, none); err != nil {
			t.Fatal(err)
		}
		if err := ss.tell(sessionKey{a, "1"}, told, nil, none); !errors.Is(err, errSessionReused) {
			t.Errorf("a second session of the number: %v", err)
		}
		if o, err := ss.claim(ctx, sessionKey{a, "1"}); err != nil || o.entrypoint != "E" {
			t.Errorf("told, then claimed: %+v, %v", o, err)
		}
		go func() {
			time.Sleep(time.Second)
			ss.tell(sessionKey{a, "2"}, told, nil, none)
		}()
		if o, err := ss.claim(ctx, sessionKey{a, "2"}); err != nil || o.entrypoint != "E" {
			t.Errorf("claimed, then told: %+v, %v", o, err)
		}
		ss.tell(sessionKey{a, "3"}, offer{}, dispatch.ErrTooDeep, none)
		if _, err := ss.claim(ctx, sessionKey{a, "3"}); !errors.Is(err, dispatch.ErrTooDeep) {
			t.Errorf("refused: %v", err)
		}
		lost := false
		ss.tell(sessionKey{a, "4"}, told, nil, func() { lost = true })
		if _, err := ss.claim(ctx, sessionKey{b, "4"}); !errors.Is(err, errNoSession) {
			t.Errorf("another process's session: %v", err)
		}
		time.Sleep(sessionWait)
		synctest.Wait()
		if !lost {
			t.Error("a session that nobody claimed is kept")
		}
		if _, err := ss.claim(ctx, sessionKey{a, "4"}); !errors.Is(err, errNoSession) {
			t.Errorf("a session that was given up: %v", err)
		}
		gone, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := ss.claim(gone, sessionKey{a, "5"}); !errors.Is(err, errNoSession) {
			t.Errorf("claimed by a process that left: %v", err)
		}
		if len(ss.all) != 0 || len(ss.waiting) != 0 {
			t.Errorf("left over: %v, %v", ss.all, ss.waiting)
		}
	})
}

// A process that is called without anybody telling the node is not made to wait for ever more.
func TestSessionWaitsAreBounded(t *testing.T) {
	p := &isolate.Process{}
	synctest.Test(t, func(t *testing.T) {
		var ss sessions
		ctx, cancel := context.WithCancel(t.Context())
		for i := range maxSessionWaits {
			go ss.claim(ctx, sessionKey{p, string(rune(i))})
		}
		synctest.Wait()
		if _, err := ss.claim(ctx, sessionKey{p, "x"}); !errors.Is(err, dispatch.ErrBusy) {
			t.Errorf("one too many: %v", err)
		}
		cancel()
	})
}
