package d1

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
)

// A transfer is a file of SQL on its way into a database or out of it. Whoever knows its token may send or fetch the file,
// for an hour: the clients do so without their API token, as with the signed URLs of Cloudflare's object store.
type transfer struct {
	token   string
	account atoll.AccountID
	db      ID
	etag    string // of what is to come: the MD5 of the file
	from    bool   // out of the database: the file may be fetched
	sent    bool   // the whole file is there
	ends    time.Time
	job     *job

	// Of an import, under the Store's mu.
	coming bool  // the file is being sent
	size   int64 // of the file that is there, as its account's staged counts it
	owner  *owner
}

// job is an import or an export under way.
type job struct {
	mark  bookmark // of the database when it began
	done  chan struct{}
	err   error
	token string // of an export's file
	sum   Imported
}

// Imported is what an import has done.
type Imported struct {
	Queries       int64
	Bookmark      string
	Duration      time.Duration
	Read, Written int64
	Changes       int64
	Size          int64
}

// MaxImport is the most bytes of a file to import, https://developers.cloudflare.com/d1/best-practices/import-export-data/.
const MaxImport = 5_000_000_000

// Bounds of transfers.
const (
	maxTransfers = 8 // of one account
	transferLife = time.Hour
)

func (s *Store) transferPath(token string) string {
	return filepath.Join(s.dir, "transfers", token+".sql")
}

// begin makes a transfer. The caller removes it where it fails.
func (s *Store) begin(t *transfer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.opts.Now()
	s.expireLocked(now)
	n := 0
	for _, other := range s.transfers {
		if other.account == t.account {
			n++
		}
	}
	if n >= maxTransfers {
		return fault.Newf(fault.Limited, codeMalformed, "The account has %d imports and exports already; try again later.", n)
	}
	if err := os.MkdirAll(filepath.Join(s.dir, "transfers"), 0o700); err != nil {
		return full(err)
	}
	t.token, t.ends = atoll.NewID(), now.Add(transferLife)
	s.transfers[t.token] = t
	return nil
}

// expireTransfers removes those whose time is over, with their files.
func (s *Store) expireTransfers() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expireLocked(s.opts.Now())
}

func (s *Store) expireLocked(now time.Time) {
	for token, t := range s.transfers {
		if now.After(t.ends) && !t.running() && !t.coming {
			delete(s.transfers, token)
			s.dropLocked(t)
		}
	}
}

// dropLocked removes a transfer's file.
func (s *Store) dropLocked(t *transfer) {
	os.Remove(s.transferPath(t.token))
	if t.owner != nil {
		t.owner.staged.Add(-t.size)
	}
	t.size = 0
}

func (t *transfer) running() bool {
	if t.job == nil {
		return false
	}
	select {
	case <-t.job.done:
		return false
	default:
		return true
	}
}

func (s *Store) forget(t *transfer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.transfers, t.token)
	s.dropLocked(t)
}

// transfer finds a transfer of the database by a condition.
func (s *Store) transfer(acct atoll.AccountID, id ID, is func(*transfer) bool) *transfer {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, t := range s.transfers {
		if t.account == acct && t.db == id && is(t) {
			return t
		}
	}
	return nil
}

// BeginImport makes room for a file of SQL whose MD5 is etag, and returns the token to send it with.
func (s *Store) BeginImport(acct atoll.AccountID, id ID, etag string) (token string, err error) {
	db, err := s.database(acct, id)
	if err != nil {
		return "", err
	}
	if b, err := hex.DecodeString(etag); err != nil || len(b) != md5.Size {
		return "", fault.New(fault.Invalid, codeMalformed, "etag must be the MD5 of the file, in hexadecimal digits")
	}
	t := &transfer{account: acct, db: id, etag: strings.ToLower(etag), owner: db.owner}
	err = s.begin(t)
	return t.token, err
}

var (
	errTransfer = fault.New(fault.NotFound, codeNotFound, "There is no such file, or not any more.")
	errComing   = fault.New(fault.Conflict, codeMalformed, "The file is being sent already, or has been taken for an import.")
	errToken    = fault.New(fault.Unauthenticated, 10000, "Authentication error: this address is of no transfer, or not any more")
)

// Receive takes the file of an import, and returns its MD5. One at a time is taken for a token; one that comes again replaces
// the file. All that an account has sent and not had imported yet is bounded by what it may store.
func (s *Store) Receive(acct atoll.AccountID, id ID, token string, body io.Reader) (etag string, err error) {
	t := s.transfer(acct, id, func(t *transfer) bool { return t.token == token && !t.from && s.opts.Now().Before(t.ends) })
	if t == nil {
		return "", errToken
	}
	s.mu.Lock()
	busy := t.coming || t.job != nil
	t.coming = t.coming || !busy
	s.mu.Unlock()
	if busy {
		return "", errComing
	}
	file := &staged{r: io.LimitReader(body, MaxImport+1), owner: t.owner, most: s.opts.AccountBytes}
	kept := false
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		t.coming = false
		if !kept {
			t.owner.staged.Add(-file.n)
		}
	}()
	part := s.transferPath(token) + "." + atoll.NewID()
	f, err := os.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", full(err)
	}
	defer os.Remove(part)
	sum := md5.New()
	_, err = io.Copy(io.MultiWriter(f, sum), file)
	if err = errors.Join(err, f.Close()); err != nil {
		return "", full(fmt.Errorf("receive import: %w", err))
	}
	if file.n > MaxImport {
		return "", fault.Newf(fault.TooLarge, codeMalformed, "A file to import has at most %d bytes.", int64(MaxImport))
	}
	etag = hex.EncodeToString(sum.Sum(nil))
	if etag != t.etag {
		return etag, fault.Newf(fault.Invalid, codeMalformed, "The file's MD5 is %s, and %s was announced.", etag, t.etag)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.transfers[token] != t:
		return "", errToken
	case t.job != nil: // of the file that was there before
		return "", errComing
	}
	if err := os.Rename(part, s.transferPath(token)); err != nil {
		return "", full(err)
	}
	t.owner.staged.Add(-t.size)
	t.size, t.sent, kept = file.n, true, true
	return etag, nil
}

// staged is the file of an import on its way here, which its account is charged for.
type staged struct {
	r     io.Reader
	owner *owner
	most  int64 // that the account may have in all; 0: without bound
	n     int64 // read
}

func (s *staged) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	s.n += int64(n)
	if all := s.owner.staged.Add(int64(n)); s.most > 0 && all > s.most {
		return 0, errAccount
	}
	return n, err
}

// Exported opens the file of an export.
func (s *Store) Exported(acct atoll.AccountID, id ID, token string) (*os.File, error) {
	t := s.transfer(acct, id, func(t *transfer) bool {
		return t.token == token && t.from && !t.running() && s.opts.Now().Before(t.ends)
	})
	if t == nil {
		return nil, errToken
	}
	return os.Open(s.transferPath(token))
}

// start runs f as the transfer's job, in the background, unless it has one.
func (s *Store) start(db *database, t *transfer, f func(ctx context.Context, j *job) error) *job {
	j := &job{mark: db.lastMark(), done: make(chan struct{}), token: t.token}
	s.mu.Lock()
	if t.job != nil { // the client asks again
		defer s.mu.Unlock()
		return t.job
	}
	t.job = j
	closed := s.closed
	if !closed {
		s.running.Add(1)
	}
	s.mu.Unlock()
	if closed {
		j.err = errShutdown
		close(j.done)
		return j
	}
	go func() {
		defer s.running.Done()
		defer close(j.done)
		ctx, stop := context.WithCancelCause(s.background)
		defer stop(nil)
		defer context.AfterFunc(db.ended, func() { stop(errGone) })()
		if j.err = f(ctx, j); j.err != nil {
			if fault.Of(j.err) == nil {
				s.lg.Error("d1 transfer", "database", db.ID, "err", j.err)
			}
		}
		if j.err != nil || !t.from {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.dropLocked(t)
		}
	}()
	return j
}

// Progress is how far an import or an export is.
type Progress struct {
	Bookmark string // to ask again with
	Done     bool
	Err      error
	Token    string   // of an export that is done
	Sum      Imported // of an import that is done
}

// patience is how long a client waits for an answer before it has to ask again.
const patience = 2 * time.Second

// wait reports on a job once it is done, or after a while.
func (s *Store) wait(ctx context.Context, id ID, j *job) Progress {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	p := Progress{Bookmark: j.mark.text(id)}
	select {
	case <-j.done:
		p.Done, p.Err, p.Token, p.Sum = true, j.err, j.token, j.sum
	case <-timer.C:
	case <-ctx.Done():
	}
	return p
}

// Poll reports on the import, or the export, that began at a bookmark.
func (s *Store) Poll(ctx context.Context, acct atoll.AccountID, id ID, export bool, mark string) (Progress, error) {
	var latest *transfer
	s.transfer(acct, id, func(t *transfer) bool {
		if t.from == export && t.job != nil && t.job.mark.text(id) == mark && (latest == nil || t.ends.After(latest.ends)) {
			latest = t
		}
		return false
	})
	if latest == nil {
		return Progress{}, fault.Newf(fault.NotFound, codeNotFound, "Nothing that began at bookmark %.80s is under way.", mark)
	}
	return s.wait(ctx, id, latest.job), nil
}

func (db *database) lastMark() bookmark { return *db.marked.Load() }
