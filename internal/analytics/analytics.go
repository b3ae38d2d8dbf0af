// Package analytics keeps the data points that Workers write with Analytics Engine bindings: datasets of points, each an
// index, up to twenty strings and twenty numbers, in one SQLite file.
//
// It answers no queries yet. Those of the SQL API will read the table points, which has the columns that the API names
// (index1, blob1 to blob20, double1 to double20, timestamp as time), by dataset and time, which is its index; every point
// is kept, so _sample_interval is 1. SQLite needs no C compiler, and DuckDB, should it come for queries, reads its files.
//
// A point is taken into memory and its writer does not wait. Points are written together, once a second or when a thousand
// wait. So a node that is killed loses what the last second brought, and one that is stopped nothing. What does not fit into
// memory because the disk is slower, what is over a quota, and what a full disk refuses is dropped, and the log says how
// much: points are samples, and no Worker may be held up for them.
//
// Invariant: memory is bounded by bufferPoints and bufferBytes, of which one script has no more than a quarter; disk by
// AccountBytes and by retention.
//
// Concurrency: a Store may be used from any number of goroutines.
package analytics

import (
	"context"
	"embed"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/sqlite"
)

//go:embed migrations/*.sql
var migrations embed.FS

// The bounds of a point and of what one invocation writes: https://developers.cloudflare.com/analytics/analytics-engine/limits/
const (
	MaxPoints  = 250 // of an invocation
	maxColumns = 20  // blobs, and as many doubles
	maxBlobs   = 16_000
	maxIndex   = 96
)

const (
	retention    = 92 * 24 * time.Hour // three months
	flushEvery   = time.Second
	flushAt      = 1000 // points that wait
	bufferPoints = 20_000
	bufferBytes  = 32 << 20
	sweepEvery   = 10 * time.Minute
	sweepChunk   = 2000
)

// Options are what a Store may be told.
type Options struct {
	AccountBytes int64 // how much the points of one account may take; 0 means no bound
}

// Point is one data point.
type Point struct {
	Index   string
	Blobs   []*string // nil: the column is empty
	Doubles []float64
}

func (p *Point) size() int64 {
	n := 64 + len(p.Index) + 8*len(p.Doubles)
	for _, b := range p.Blobs {
		if b != nil {
			n += len(*b)
		}
	}
	return int64(n)
}

// Valid tells whether a point keeps to the bounds.
func (p *Point) Valid() bool {
	blobs := 0
	for _, b := range p.Blobs {
		if b != nil {
			blobs += len(*b)
		}
	}
	return len(p.Index) <= maxIndex && len(p.Blobs) <= maxColumns && len(p.Doubles) <= maxColumns && blobs <= maxBlobs
}

// Store is all datasets of a node.
type Store struct {
	lg   *slog.Logger
	opts Options
	db   *sqlite.DB
	some chan struct{} // told when points wait
	full chan struct{} // told when flushAt do

	mu      sync.Mutex
	waiting []waiting
	bytes   int64
	scripts map[atoll.ScriptRef]int64 // bytes that wait, by who wrote them
	dropped int64                     // since it was logged last

	flushing sync.Mutex                // guards usage and datasets, and held while points are written
	usage    map[atoll.AccountID]int64 // bytes on disk
	datasets map[dataset]int64
}

// dataset is a name in an account.
type dataset struct {
	account atoll.AccountID
	name    string
}

// waiting is a point in memory.
type waiting struct {
	Point
	dataset dataset
	time    int64
	size    int64
}

// Open opens dir/analytics.db, making it where it does not exist. The logger may be nil.
func Open(lg *slog.Logger, dir string, opts Options) (*Store, error) {
	if lg == nil {
		lg = slog.New(slog.DiscardHandler)
	}
	db, err := sqlite.Open(lg, filepath.Join(dir, "analytics.db"), migrations)
	if err != nil {
		return nil, fmt.Errorf("open analytics: %w", err)
	}
	s := &Store{lg: lg, opts: opts, db: db, some: make(chan struct{}, 1), full: make(chan struct{}, 1), scripts: map[atoll.ScriptRef]int64{},
		usage: map[atoll.AccountID]int64{}, datasets: map[dataset]int64{}}
	list, err := sqlite.All(context.Background(), db.Reads(), scanDataset, `SELECT num, account, name, bytes FROM datasets`)
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("open analytics: %w", err)
	}
	for _, d := range list {
		s.datasets[d.dataset] = d.num
		s.usage[d.account] += d.bytes
	}
	return s, nil
}

type datasetRow struct {
	dataset
	num, bytes int64
}

func scanDataset(row sqlite.Row) (d datasetRow, err error) {
	err = row.Scan(&d.num, &d.account, &d.name, &d.bytes)
	return d, err
}

// Close closes the file. Run must have returned.
func (s *Store) Close() error { return s.db.Close() }

// Write takes points of a script for a dataset of its account. Those that are not valid, or for which there is no room, are
// dropped.
func (s *Store) Write(script atoll.ScriptRef, name string, list []Point) {
	at := time.Now().UnixMilli()
	s.mu.Lock()
	for _, p := range list {
		size := p.size()
		if !p.Valid() || len(s.waiting) >= bufferPoints || s.bytes+size > bufferBytes || s.scripts[script]+size > bufferBytes/4 {
			s.dropped++
			continue
		}
		s.bytes += size
		s.scripts[script] += size
		s.waiting = append(s.waiting, waiting{p, dataset{script.Account, name}, at, size})
	}
	n := len(s.waiting)
	s.mu.Unlock()
	if n > 0 {
		tell(s.some)
	}
	if n >= flushAt {
		tell(s.full)
	}
}

func tell(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run writes points to disk and removes old ones until ctx is done, and then what is left.
func (s *Store) Run(ctx context.Context) error {
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	var due <-chan time.Time // nil: nothing waits
	for {
		select {
		case <-ctx.Done():
			s.flush(context.WithoutCancel(ctx))
			return nil
		case <-s.some:
			if due == nil {
				due = time.After(flushEvery)
			}
		case <-due:
			due = nil
			s.flush(ctx)
		case <-s.full:
			s.flush(ctx)
		case <-sweep.C:
			if err := s.sweep(ctx, time.Now().Add(-retention)); err != nil && ctx.Err() == nil {
				s.lg.Error("remove old data points", "err", err)
			}
		}
	}
}

// flush writes all points that wait. What cannot be written is dropped.
func (s *Store) flush(ctx context.Context) {
	s.flushing.Lock()
	defer s.flushing.Unlock()
	s.mu.Lock()
	list, dropped := s.waiting, s.dropped
	s.waiting, s.bytes, s.dropped = nil, 0, 0
	clear(s.scripts)
	s.mu.Unlock()
	added := map[dataset]delta{}
	kept := list[:0]
	for _, p := range list {
		account := p.dataset.account
		if s.opts.AccountBytes > 0 && s.usage[account]+p.size > s.opts.AccountBytes {
			dropped++
			continue
		}
		s.usage[account] += p.size
		d := added[p.dataset]
		added[p.dataset] = delta{d.points + 1, d.bytes + p.size}
		kept = append(kept, p)
	}
	if err := s.store(ctx, kept, added); err != nil {
		s.lg.Error("cannot write data points", "points", len(kept), "err", err)
		for d, a := range added {
			s.usage[d.account] -= a.bytes
		}
	}
	if dropped > 0 {
		s.lg.Warn("data points dropped: over a limit, or more than can be written", "points", dropped)
	}
}

// delta is how a dataset changes.
type delta struct{ points, bytes int64 }

// store writes points in one transaction.
func (s *Store) store(ctx context.Context, list []waiting, added map[dataset]delta) error {
	if len(list) == 0 {
		return nil
	}
	found := map[dataset]int64{}
	err := s.db.Write(ctx, func(ctx context.Context, tx sqlite.Session) error {
		for d, a := range added {
			num, err := sqlite.One(ctx, tx, sqlite.Value[int64], `INSERT INTO datasets (account, name, points, bytes, created) VALUES (?, ?, ?, ?, ?)
				ON CONFLICT (account, name) DO UPDATE SET points = points + excluded.points, bytes = bytes + excluded.bytes RETURNING num`,
				d.account, d.name, a.points, a.bytes, list[0].time)
			if err != nil {
				return err
			}
			found[d] = num
		}
		args := make([]any, 4+2*maxColumns)
		for _, p := range list {
			if _, err := sqlite.Run(ctx, tx, insertPoint, p.columns(args, found[p.dataset])...); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		for d, num := range found {
			s.datasets[d] = num
		}
	}
	return err
}

var insertPoint = `INSERT INTO points (dataset, time, size, index1, ` + columnNames("blob") + `, ` + columnNames("double") + `)
	VALUES (?` + strings.Repeat(`, ?`, 3+2*maxColumns) + `)`

func columnNames(kind string) string {
	names := make([]string, maxColumns)
	for i := range names {
		names[i] = fmt.Sprintf("%s%d", kind, i+1)
	}
	return strings.Join(names, ", ")
}

// columns fills in a point's values.
func (p *waiting) columns(args []any, num int64) []any {
	clear(args)
	args[0], args[1], args[2], args[3] = num, p.time, p.size, p.Index
	for i, b := range p.Blobs {
		if b != nil {
			args[4+i] = *b
		}
	}
	for i, d := range p.Doubles {
		if !math.IsNaN(d) { // SQLite has none
			args[4+maxColumns+i] = d
		}
	}
	return args
}

// sweep removes the points that were written before a time.
func (s *Store) sweep(ctx context.Context, before time.Time) error {
	s.flushing.Lock()
	nums := make(map[int64]atoll.AccountID, len(s.datasets))
	for d, num := range s.datasets {
		nums[num] = d.account
	}
	s.flushing.Unlock()
	for num, account := range nums {
		for more := true; more; {
			gone, err := s.removeOld(ctx, num, before.UnixMilli())
			if err != nil {
				return err
			}
			s.flushing.Lock()
			s.usage[account] -= gone.bytes
			s.flushing.Unlock()
			more = gone.points == sweepChunk
		}
	}
	return nil
}

func (s *Store) removeOld(ctx context.Context, num, before int64) (gone delta, err error) {
	err = s.db.Write(ctx, func(ctx context.Context, tx sqlite.Session) error {
		sizes, err := sqlite.All(ctx, tx, sqlite.Value[int64], `DELETE FROM points WHERE key IN
			(SELECT key FROM points WHERE dataset = ? AND time < ? ORDER BY time LIMIT ?) RETURNING size`, num, before, sweepChunk)
		if err != nil || len(sizes) == 0 {
			return err
		}
		for _, n := range sizes {
			gone.points++
			gone.bytes += n
		}
		_, err = sqlite.Run(ctx, tx, `UPDATE datasets SET points = points - ?, bytes = bytes - ? WHERE num = ?`, gone.points, gone.bytes, num)
		return err
	})
	return gone, err
}
