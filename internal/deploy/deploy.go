// Package deploy changes scripts: it makes a version of an upload, of a change of settings or of a secret, starts it once
// to see that it runs, stores it and publishes it. Account scripts and user Workers go the same way. It is also where a
// version becomes active again (rollback) and where scripts are deleted.
//
// It reads no requests (package upload does), keeps nothing itself (packages store and durable do), and runs nothing (the
// Runner does).
//
// Invariant: a change is whole or is not. A version is made from the one before it, checked, started, then its modules are
// written as files that survive a power cut, and only then one transaction of the store makes it the script's active
// version. Whatever fails, or whenever the node dies, before that transaction, the script is as it was; what may be left
// over are module files that no version refers to, which the store's collection removes. After it, the change is on
// disk, and a node that dies before it has published reads it at its next start. A publication says "look again", so one
// too many does no harm, and there is one after every attempt to write, failed ones included.
//
// All methods may be called concurrently. Changes of one script happen one after another, in the order they came; those
// of different scripts do not wait for each other, but for a place among the versions being started, and where one takes
// classes of Durable Objects from the other.
package deploy

import (
	"context"
	"crypto/rand"
	"log/slog"
	"runtime"

	"atoll.dev/atoll/internal/assets"
	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/durable"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/store"
	"atoll.dev/atoll/internal/upload"
)

// Runner runs versions.
type Runner interface {
	// Validate starts v, a version of ref that is not stored yet, and reports what it handles. load returns the bytes of
	// a module. A Worker that does not start is a fault of kind Invalid, code 10021, with JavaScript's message.
	Validate(ctx context.Context, v *atoll.Version, ref atoll.ScriptRef, load func(hash string) ([]byte, error)) (Started, error)
	// Suspend ends ref's processes and has nobody start another one, nor use what objects of these classes have stored,
	// until resume is called. Requests wait meanwhile.
	Suspend(ctx context.Context, ref atoll.ScriptRef, classes []string) (resume func(), err error)
	// Publish says that ref's active version may be another one, or that ref may be gone. It returns at once.
	Publish(ref atoll.ScriptRef)
}

// Started is what a version that started says of itself.
type Started struct {
	Handlers  []string              `json:"handlers"` // of its default export
	Named     []atoll.NamedHandlers `json:"named"`
	StartupMs int64                 `json:"startup_ms"`
}

// Options are the service's settings; the zero value is the defaults.
type Options struct {
	Limits upload.Limits
	// Engine names the version of what runs Workers. A version that was started by another one is started again.
	Engine string
	// Assets redeems the tokens of uploaded assets. nil: uploads with assets are refused.
	Assets *assets.Uploads
	// Starting is how many versions may be started at once to see that they run; default twice the processors.
	Starting int
}

// Service changes scripts.
type Service struct {
	lg       *slog.Logger
	store    *store.DB
	blobs    *durable.Blobs
	run      Runner
	res      Resources
	opts     Options
	locks    locks
	starting chan struct{} // holds a token for each version being started
	salt     [32]byte      // of the secrets' part in memo keys
}

// New returns a Service.
func New(lg *slog.Logger, st *store.DB, blobs *durable.Blobs, run Runner, res Resources, opts Options) *Service {
	if lg == nil {
		lg = slog.New(slog.DiscardHandler)
	}
	if opts.Starting == 0 {
		opts.Starting = 2 * runtime.NumCPU()
	}
	s := &Service{lg: lg, store: st, blobs: blobs, run: run, res: res, opts: opts, starting: make(chan struct{}, opts.Starting)}
	rand.Read(s.salt[:]) // never fails, see crypto/rand
	return s
}

// Limits returns the limits that uploads are to be read with.
func (s *Service) Limits() upload.Limits { return s.opts.Limits }

// current is a script as a change finds it.
type current struct {
	script *atoll.Script
	base   *atoll.Version // what a new version is made from; nil where there is none
}

// current loads the script; a missing one is nil, a missing namespace an error. The base of a version that will be
// deployed is the active one; of one that will not, the newest, so that such versions can build on each other.
func (s *Service) current(ctx context.Context, ref atoll.ScriptRef, deploying bool) (current, error) {
	script, err := s.store.Script(ctx, ref)
	if isMissing(err, ref) {
		return current{}, nil
	}
	if err != nil {
		return current{}, err
	}
	c := current{script, script.Version}
	if deploying {
		return c, nil
	}
	newest, _, err := s.store.Versions(ctx, ref, 1, 0)
	if err == nil && len(newest) > 0 && newest[0].ID != script.Active {
		c.base, err = s.store.Version(ctx, ref, newest[0].ID) // with its secrets, which lists leave out
	}
	return c, err
}

// existing is current for changes that make no script.
func (s *Service) existing(ctx context.Context, ref atoll.ScriptRef) (current, error) {
	c, err := s.current(ctx, ref, true)
	if err == nil && c.base == nil {
		err = ref.NotFound()
	}
	return c, err
}

// newest is current for changes of the newest version.
func (s *Service) newest(ctx context.Context, ref atoll.ScriptRef) (current, error) {
	c, err := s.current(ctx, ref, false)
	switch {
	case err == nil && c.script == nil:
		err = ref.NotFound()
	case err == nil && c.base == nil:
		err = fault.New(fault.Invalid, 10222, "This Worker has no versions.") // wrangler tells its user what to do
	}
	return c, err
}

// isMissing reports whether err says that the script is missing, and not its namespace or account.
func isMissing(err error, ref atoll.ScriptRef) bool {
	f, missing := fault.Of(err), fault.Of(ref.NotFound())
	return f != nil && f.Kind == missing.Kind && f.Code == missing.Code
}
