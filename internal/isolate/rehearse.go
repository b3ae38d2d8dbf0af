package isolate

import (
	"context"
	_ "embed"
	"fmt"
	"net/http"
	"slices"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/hop"
	"atoll.dev/atoll/internal/prefault"
)

// A process that starts spends a sixth of its time on faults, by which the kernel enters the engine's code into its page
// tables part by part, although another process has it in memory. So spares have those parts entered while they wait. Which
// ones, the first process of a node shows: it runs a Worker of our own, answers one request, and is ended.

//go:embed js/rehearsal.js
var rehearsalSource []byte

const (
	rehearsalModule = "rehearsal.js"
	// rehearsalTime is plenty for a start on a busy machine. Without a rehearsal processes start as well, a little later.
	rehearsalTime = 30 * time.Second
	// spareTime is likewise how long a spare may take until it waits for its configuration.
	spareTime = 10 * time.Second
)

// rehearse learns what a start touches, and has the spares that there are already benefit.
func (f *Factory) rehearse() error {
	ctx, cancel := context.WithTimeout(f.ctx, rehearsalTime)
	defer cancel()
	pages, err := f.touched(ctx)
	if err != nil {
		if f.ctx.Err() == nil {
			f.lg.Warn("processes start a little slower: it cannot be seen which parts of the engine they need", "err", err)
		}
		return nil
	}
	f.pages.Store(pages)
	f.mu.Lock()
	waiting := slices.Clone(f.spares)
	f.mu.Unlock()
	for _, s := range waiting {
		f.warm(s)
	}
	return nil
}

// touched runs the rehearsal.
func (f *Factory) touched(ctx context.Context) (*prefault.Pages, error) {
	s, err := f.spawn(f.opts.Memory, false, disks{})
	if err != nil {
		return nil, err
	}
	p, err := f.feed(s, Spec{
		Version: &atoll.Version{MainModule: rehearsalModule, CompatibilityDate: "2025-01-01",
			Modules: []atoll.Module{{Name: rehearsalModule, Type: atoll.ESModule}}},
		Load:   func(string) ([]byte, error) { return rehearsalSource, nil },
		Memory: f.opts.Memory,
	})
	if err != nil {
		return nil, err
	}
	defer p.Kill()
	res, err := p.Client.Do(ctx, &hop.Request{Method: http.MethodGet, Target: "/a?b=c", Host: "atoll"})
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, p.Output())
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the Worker answers %s", res.Status)
	}
	return prefault.Learn(p.Pid())
}

// warm waits until a spare waits for its configuration, and has it find the engine in memory. It does nothing for one that is
// taken meanwhile, which has to start as it is.
func (f *Factory) warm(s *spare) {
	pages := f.pages.Load()
	if pages == nil {
		return
	}
	for end := time.Now().Add(spareTime); ; {
		select {
		case <-s.proc.Done():
			return
		case <-time.After(5 * time.Millisecond):
		}
		ready, err := prefault.Waiting(s.proc.Pid())
		if s.owner.Load() != nil || err != nil || time.Now().After(end) {
			return
		}
		if ready {
			break
		}
	}
	if _, err := pages.Map(s.proc.Pid()); err != nil {
		f.lg.Debug("a spare process starts slower", "isolate", s.id, "err", err)
	}
}
