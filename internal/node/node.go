package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"atoll.dev/atoll/internal/analytics"
	"atoll.dev/atoll/internal/api"
	"atoll.dev/atoll/internal/assets"
	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/auth"
	"atoll.dev/atoll/internal/binding"
	"atoll.dev/atoll/internal/cache"
	"atoll.dev/atoll/internal/cron"
	"atoll.dev/atoll/internal/d1"
	"atoll.dev/atoll/internal/deploy"
	"atoll.dev/atoll/internal/dispatch"
	"atoll.dev/atoll/internal/durable"
	"atoll.dev/atoll/internal/edge"
	"atoll.dev/atoll/internal/egress"
	"atoll.dev/atoll/internal/hop"
	"atoll.dev/atoll/internal/isolate"
	"atoll.dev/atoll/internal/kv"
	"atoll.dev/atoll/internal/objects"
	"atoll.dev/atoll/internal/queue"
	"atoll.dev/atoll/internal/r2"
	"atoll.dev/atoll/internal/ratelimit"
	"atoll.dev/atoll/internal/s3"
	"atoll.dev/atoll/internal/sandbox"
	"atoll.dev/atoll/internal/store"
	"atoll.dev/atoll/internal/workerd"
)

// Config is everything a node can be told.
type Config struct {
	Data            string           // the directory that holds all state; made where it does not exist
	Edge            string           // address of the edge, such as "127.0.0.1:8080"
	API             string           // address of the REST API
	APIToken        string           // the operator's token; empty: made at the first start and kept in Data/api-token
	AccountID       string           // 32 hexadecimal digits; empty: made at the first start and kept in Data
	Zone            string           // the name of the zone that routes belong to
	Workerd         string           // path of workerd; empty: see workerd.Find
	InsecureSandbox bool             // run even where Workers cannot be isolated
	EgressAllow     []string         // blocks of addresses that Workers may reach though they are not public, such as "127.0.0.0/8"
	EgressDeny      []string         // public ones that they may not
	EgressCA        string           // a PEM file of certificates that subrequests trust beside the system's
	APIAlias        []string         // hosts that stand for the node's API in subrequests of platform Workers
	Limits          atoll.NodeLimits // zero fields: the parts' own defaults, which are those of atoll.DefaultLimits
	WithoutLimits   bool             // hold Workers to no CPU, wall time and memory limit; to measure what those cost, never to serve
	SecretKey       string           // seals secrets at rest; empty: made at the first start and kept in Data/secret.key
	Log             *slog.Logger     // nil: discarded
	Stdout          io.Writer        // where the ready line goes
}

// drainTime is how long a stopping node waits for the requests in progress.
const drainTime = 30 * time.Second

// Run runs a node until ctx is done, drains it and returns. It writes the ready line to Stdout once it serves.
func Run(ctx context.Context, cfg Config) (err error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	n, err := open(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	return n.run(ctx)
}

// node is the parts of a running node.
type node struct {
	cfg     Config
	lg      *slog.Logger
	account atoll.AccountID

	closers []io.Closer // closed in reverse order
	lock    dirLock
	store   *store.DB
	blobs   *durable.Blobs
	kv      *kv.Store
	cache   *cache.Store
	queues  *queue.Store
	points  *analytics.Store
	r2      *r2.Store
	objects *objects.Store
	deleted chan struct{} // classes of Durable Objects may have been
	d1      *d1.Store
	alarms  *objects.Clock
	uploads *assets.Uploads
	sites   *assets.Sites
	engine  string // workerd's version
	factory *isolate.Factory
	gate    *egress.Gate
	calls   *dispatch.Dispatcher
	deploys *deploy.Service
	clock   *cron.Clock
	edge    *edge.Edge
	api     http.Handler
	s3      *s3.Handler
}

func (n *node) close() error {
	var err error
	for i := len(n.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, n.closers[i].Close())
	}
	return err
}

// open builds a node from the bottom up.
func open(ctx context.Context, cfg Config) (_ *node, err error) {
	n := &node{cfg: cfg, lg: cfg.Log, deleted: make(chan struct{}, 1)}
	defer func() {
		if err != nil {
			n.close()
		}
	}()
	if err := n.openState(ctx); err != nil {
		return nil, err
	}
	if err := n.openRuntime(); err != nil {
		return nil, err
	}
	if err := n.openAPI(ctx); err != nil {
		return nil, err
	}
	if err := n.publishSchedules(ctx); err != nil {
		return nil, err
	}
	return n, n.publishRoutes(ctx)
}

// openState opens what is kept on disk.
func (n *node) openState(ctx context.Context) error {
	dir := n.cfg.Data
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	var err error
	if n.lock, err = lockDir(dir); err != nil {
		return err
	}
	n.closers = append(n.closers, n.lock)
	key, err := store.LoadKey(dir, n.cfg.SecretKey)
	if err != nil {
		return fmt.Errorf("load secret key: %w", err)
	}
	if n.store, err = store.Open(n.lg, dir, key); err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	n.closers = append(n.closers, n.store)
	if n.blobs, err = durable.OpenBlobs(filepath.Join(dir, "blobs")); err != nil {
		return fmt.Errorf("open blobs: %w", err)
	}
	n.uploads = assets.NewUploads(n.lg, n.store, n.blobs, key.Derive("tokens of asset uploads"), nil)
	if n.kv, err = kv.Open(n.lg, dir, kv.Options{AccountBytes: n.cfg.Limits.KVStorage}); err != nil {
		return fmt.Errorf("open kv: %w", err)
	}
	n.closers = append(n.closers, n.kv)
	if n.objects, err = objects.Open(n.lg, dir); err != nil {
		return err
	}
	if n.cache, err = cache.Open(n.lg, filepath.Join(dir, "cache"), cacheLimits(n.cfg.Limits)); err != nil {
		return err
	}
	if n.queues, err = n.openQueues(); err != nil {
		return err
	}
	n.closers = append(n.closers, n.queues)
	if n.points, err = analytics.Open(n.lg, dir, analytics.Options{AccountBytes: n.cfg.Limits.AnalyticsStorage}); err != nil {
		return err
	}
	n.closers = append(n.closers, n.points)
	if n.r2, err = r2.Open(n.lg, dir, r2.Options{AccountBytes: n.cfg.Limits.R2Storage}); err != nil {
		return err
	}
	n.closers = append(n.closers, n.r2)
	if n.d1, err = d1.Open(n.lg, dir, d1.Options{AccountBytes: n.cfg.Limits.D1Storage,
		HistoryBytes: n.cfg.Limits.D1History, HistoryAge: time.Duration(n.cfg.Limits.D1HistoryDays) * 24 * time.Hour}); err != nil {
		return fmt.Errorf("open d1: %w", err)
	}
	n.closers = append(n.closers, n.d1)
	if n.account, err = n.ensureAccount(ctx); err != nil {
		return err
	}
	if _, err := n.store.EnsureZone(ctx, n.account, n.cfg.Zone); err != nil {
		return fmt.Errorf("make zone %s: %w", n.cfg.Zone, err)
	}
	return nil
}

// ensureAccount returns the node's account, made at the first start.
func (n *node) ensureAccount(ctx context.Context) (atoll.AccountID, error) {
	id, err := n.remember("account-id", n.cfg.AccountID, atoll.NewID)
	if err != nil {
		return "", err
	}
	account, err := atoll.ParseAccountID(id)
	if err != nil {
		return "", fmt.Errorf("account id %q: it must be 32 hexadecimal digits in lower case", id)
	}
	if err := n.store.EnsureAccount(ctx, account, "Atoll"); err != nil {
		return "", fmt.Errorf("make account: %w", err)
	}
	return account, nil
}

// remember returns given, or what the file of that name in the data directory holds, or what fresh makes and writes there.
func (n *node) remember(name, given string, fresh func() string) (string, error) {
	if given != "" {
		return given, nil
	}
	path := filepath.Join(n.cfg.Data, name)
	b, err := os.ReadFile(path)
	if err == nil {
		return strings.TrimSpace(string(b)), nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read %s: %w", name, err)
	}
	value := fresh()
	if err := durable.WriteFile(path, []byte(value+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("write %s: %w", name, err)
	}
	return value, nil
}

// openRuntime builds what runs Workers. The parts form a ring (a process's way out leads back to the dispatcher), which is
// closed by setting the border's services last.
func (n *node) openRuntime() error {
	bin, err := workerd.Find(n.cfg.Workerd)
	if err != nil {
		return err
	}
	if err := n.checkSandbox(); err != nil {
		return err
	}
	box, err := sandbox.New(sandbox.Options{Insecure: n.cfg.InsecureSandbox, Log: n.lg})
	if err != nil {
		return fmt.Errorf("prepare sandbox: %w", err)
	}
	n.closers = append(n.closers, box)
	run, err := n.lock.makeRunDir()
	if err != nil {
		return err
	}
	n.closers = append(n.closers, run)
	if n.gate, err = n.openEgress(); err != nil {
		return err
	}
	n.closers = append(n.closers, n.gate)
	border := binding.New(n.lg)
	n.factory, err = isolate.New(n.lg, bin, box, border, isolate.Options{Dir: run.isolates(), Spares: 2,
		Memory: int(n.cfg.Limits.MemoryMB), LogBytes: n.cfg.Limits.LogBytes, Objects: n.objects, WithoutLimits: n.cfg.WithoutLimits})
	if err != nil {
		return err
	}
	n.sites = assets.NewSites(n.lg, n.blobs, assets.Options{})
	callOptions := callLimits(n.cfg.Limits)
	callOptions.Sites, callOptions.WithoutLimits = n.sites, n.cfg.WithoutLimits
	n.alarms = objects.NewClock(n.lg, n.objects, n.wake)
	callOptions.Alarms = alarms{n.objects, n.alarms}
	n.calls = dispatch.New(n.lg, n.store, n.factory, n.blobs.Read, callOptions)
	border.Services = binding.Services{
		Call:   n.calls.Do,
		Hold:   n.calls.Hold,
		Secret: n.store.StoredSecretValue,
		Egress: n.gate,
		KV:     func(id string) http.Handler { return n.kv.Handler(kv.NamespaceID(id)) },
		R2: func(account atoll.AccountID, bucket string) http.Handler {
			return n.r2.Handler(r2.Ref{Account: account, Name: bucket})
		},
		D1:     func(account atoll.AccountID, id string) http.Handler { return n.d1.Handler(account, d1.ID(id)) },
		Assets: n.sites,
		Cache:  n.cache,
		Owner:  n.store.Owner,
		Points: n.points.Receive,
		Rate:   new(ratelimit.Counters).Allow,
		Queue: func(account atoll.AccountID, name string, delay *int64) http.Handler {
			return n.queues.Handler(account, queue.Name(name), delay)
		},
	}
	n.clock = cron.New(n.lg, n.fire)
	edgeOptions := edgeLimits(n.cfg.Limits)
	edgeOptions.Static, edgeOptions.Records = n.calls.Static, n.record
	n.edge = edge.New(n.lg, n.calls.Do, edgeOptions)
	n.engine = bin.Version
	n.lg.Info("engine", "workerd", bin.Path, "version", bin.Version)
	return nil
}

// checkSandbox logs which layers of the sandbox hold here, and refuses to go on below the baseline.
func (n *node) checkSandbox() error {
	if n.cfg.WithoutLimits {
		n.lg.Warn("Workers are held to no CPU, wall time and memory limits: --without-limits is set")
	}
	if n.cfg.InsecureSandbox {
		n.lg.Warn("Workers are not isolated: --insecure-sandbox is set")
		return nil
	}
	layers := sandbox.Probe()
	for _, l := range layers {
		if l.Held {
			n.lg.Info("sandbox layer holds", "layer", l.Name, "detail", l.Detail)
		} else {
			n.lg.Warn("sandbox layer is missing", "layer", l.Name, "detail", l.Detail, "fix", l.Fix)
		}
	}
	if err := sandbox.Baseline(layers); err != nil {
		return fmt.Errorf("%w; `atoll doctor` tells how to get it, --insecure-sandbox does without", err)
	}
	return nil
}

// openAPI builds the control plane.
func (n *node) openAPI(ctx context.Context) error {
	n.deploys = deploy.New(n.lg, n.store, n.blobs, runner{n.calls, n}, n.resources(), deploy.Options{
		Engine: n.engine, Limits: uploadLimits(n.cfg.Limits), Assets: n.uploads})
	token, err := n.remember("api-token", n.cfg.APIToken, func() string { return atoll.NewID() + atoll.NewID()[:8] })
	if err != nil {
		return err
	}
	operators, err := auth.New(n.store, token, nil)
	if err != nil {
		return fmt.Errorf("read API token: %w", err)
	}
	changed := func(what string, publish func(context.Context) error) func() {
		return func() {
			if err := publish(context.WithoutCancel(ctx)); err != nil {
				n.lg.Error("cannot publish "+what, "err", err)
			}
		}
	}
	n.s3 = s3.New(n.lg, n.r2, operators.AccessKey, n.account, nil)
	routesChanged := changed("routes", n.publishRoutes)
	n.api = api.New(n.lg, api.Deps{
		Store: n.store, Blobs: n.blobs, Objects: n.objects, Deploy: n.deploys, KV: n.kv, D1: n.d1, R2: n.r2, Queues: n.queues, Auth: operators, Assets: n.uploads,
		Account: n.account, Zone: n.cfg.Zone, MaxBody: apiBody(n.cfg.Limits),
		RoutesChanged:    routesChanged,
		SchedulesChanged: changed("cron triggers", n.publishSchedules),
		NamespaceChanged: func(account atoll.AccountID, ns atoll.NamespaceName) {
			n.calls.PublishNamespace(account, ns)
			routesChanged() // built-in routers lead to it
			n.mayBeDeleted()
			n.gate.RulesChanged(account, ns, "") // they may be another namespace's now
		},
		EgressChanged: n.gate.RulesChanged,
	})
	return nil
}

// resources are what uploads may be bound to.
func (n *node) resources() deploy.Resources {
	return deploy.Resources{
		"kv_namespace":         deploy.Named(n.kv.KVNamespaceExists),
		"secrets_store_secret": n.store.StoredSecretExists,
		"queue":                deploy.Named(n.queues.QueueExists),
		"r2_bucket":            deploy.Named(n.r2.R2BucketExists),
		"d1":                   deploy.Named(n.d1.D1Exists),
	}
}

// run serves until ctx is done, then drains: the edge first, the processes last.
func (n *node) run(ctx context.Context) error {
	edgeListener, err := net.Listen("tcp", n.cfg.Edge)
	if err != nil {
		return fmt.Errorf("listen for the edge: %w", err)
	}
	apiListener, err := net.Listen("tcp", n.cfg.API)
	if err != nil {
		edgeListener.Close()
		return fmt.Errorf("listen for the API: %w", err)
	}
	n.gate.Listening(listening(edgeListener), listening(apiListener))
	edgeServer := n.edge.Server()
	apiServer := &http.Server{Handler: n.faces(), ReadHeaderTimeout: 15 * time.Second, IdleTimeout: 75 * time.Second,
		ErrorLog: slog.NewLogLogger(n.lg.Handler(), slog.LevelDebug)}

	// What the servers need outlives them: it is stopped when they have drained.
	background, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	var parts errgroup.Group
	for _, run := range []func(context.Context) error{n.factory.Run, n.calls.Run, n.kv.Run, n.d1.Run, n.r2.Run, n.queues.Run, n.points.Run, n.cache.Run, n.clock.Run, n.collect, n.sweep, n.alarms.Run, n.measureObjects} {
		parts.Go(func() error {
			err := run(background)
			if err != nil {
				stop(err)
			}
			return err
		})
	}
	var servers errgroup.Group
	servers.Go(func() error { return serve(edgeServer, hop.Listener{Listener: edgeListener}) })
	servers.Go(func() error { return serve(apiServer, apiListener) })
	fmt.Fprintf(n.cfg.Stdout, "atoll: ready edge=%s api=%s account=%s\n", address(edgeListener), address(apiListener), n.account)

	select {
	case <-ctx.Done():
	case <-background.Done():
	}
	n.lg.Info("draining")
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	err = errors.Join(edgeServer.Shutdown(grace), apiServer.Shutdown(grace))
	if errors.Is(err, context.DeadlineExceeded) {
		n.lg.Warn("requests were cut off", "after", drainTime)
		edgeServer.Close()
		apiServer.Close()
		err = nil
	}
	err = errors.Join(err, servers.Wait())
	stop(nil)
	return errors.Join(err, parts.Wait())
}

func serve(s interface{ Serve(net.Listener) error }, l net.Listener) error {
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func address(l net.Listener) string { return "http://" + l.Addr().String() }

// faces puts the health checks and S3's protocol beside the API.
func (n *node) faces() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/healthz", "/readyz":
			fmt.Fprintln(w, "ok")
		default:
			if s3.Serves(r) {
				n.s3.ServeHTTP(w, r)
				return
			}
			n.api.ServeHTTP(w, r)
		}
	})
}
