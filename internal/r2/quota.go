package r2

import (
	"context"
	"io"
	"sync"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/sqlite"
)

// quota bounds what accounts store. What is committed is counted in the database, what is on its way here: so that many
// uploads at once cannot take more of the disk than the account has left.
type quota struct {
	mu       sync.Mutex
	accounts map[atoll.AccountID]*usage
	writes   map[Ref]int // by bucket: whoever has one to himself, and never ends what he sends, holds up nobody else
}

type usage struct {
	writes int
	bytes  int64 // reserved
}

// reservation is the share of one upload that is under way.
type reservation struct {
	st     *Store
	bucket Ref
	stored int64 // by the account when the upload began
	bytes  int64
}

func errStorage(limit int64) error {
	return fault.Newf(fault.Full, CodeStorage, "The account's R2 storage of %d bytes is used up.", limit)
}

// reserve begins an upload of the given size; -1 where it is not known. It must be released.
func (s *Store) reserve(ctx context.Context, ref Ref, size int64) (*reservation, error) {
	r := &reservation{st: s, bucket: ref}
	if s.opts.AccountBytes > 0 {
		var err error
		r.stored, err = sqlite.One(ctx, s.db.Reads(), sqlite.Value[int64], `SELECT bytes FROM accounts WHERE account = ?`, ref.Account)
		if err != nil && !sqlite.Missing(err) {
			return nil, err
		}
	}
	q := &s.quota
	q.mu.Lock()
	defer q.mu.Unlock()
	if n := q.writes[ref]; n >= s.opts.Writes {
		return nil, fault.Newf(fault.Limited, CodeTooManyRequests, "%d objects and parts are being uploaded to the bucket at once, and no more can be.", n)
	}
	u := q.accounts[ref.Account]
	if u == nil {
		u = &usage{}
	}
	if err := r.growLocked(u, max(size, 0)); err != nil {
		return nil, err
	}
	q.accounts[ref.Account] = u
	u.writes++
	q.writes[ref]++
	return r, nil
}

func (r *reservation) growLocked(u *usage, n int64) error {
	limit := r.st.opts.AccountBytes
	if limit > 0 && r.stored+u.bytes+n > limit {
		return errStorage(limit)
	}
	u.bytes += n
	r.bytes += n
	return nil
}

// cover makes the reservation at least n bytes.
func (r *reservation) cover(n int64) error {
	if n <= r.bytes {
		return nil
	}
	q := &r.st.quota
	q.mu.Lock()
	defer q.mu.Unlock()
	return r.growLocked(q.accounts[r.bucket.Account], n-r.bytes)
}

func (r *reservation) release() {
	q := &r.st.quota
	q.mu.Lock()
	defer q.mu.Unlock()
	u := q.accounts[r.bucket.Account]
	if q.writes[r.bucket]--; q.writes[r.bucket] == 0 {
		delete(q.writes, r.bucket)
	}
	u.writes--
	u.bytes -= r.bytes
	if u.writes == 0 {
		delete(q.accounts, r.bucket.Account)
	}
}

// charge counts a change of what an account stores, in the transaction that makes it. What grows must fit.
func (s *Store) charge(ctx context.Context, tx sqlite.Session, account atoll.AccountID, delta int64) error {
	now, err := sqlite.One(ctx, tx, sqlite.Value[int64], `UPDATE accounts SET bytes = bytes + ? WHERE account = ? RETURNING bytes`, delta, account)
	if err != nil {
		return err
	}
	if limit := s.opts.AccountBytes; limit > 0 && delta > 0 && now > limit {
		return errStorage(limit)
	}
	return nil
}

// Usage is how many bytes an account stores, metadata and open uploads included.
func (s *Store) Usage(ctx context.Context, account atoll.AccountID) (int64, error) {
	n, err := sqlite.One(ctx, s.db.Reads(), sqlite.Value[int64], `SELECT bytes FROM accounts WHERE account = ?`, account)
	if sqlite.Missing(err) {
		return 0, nil
	}
	return n, err
}

// bounded reads what an upload may still bring, and covers it as it comes.
type bounded struct {
	r    io.Reader
	res  *reservation
	read int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.read += int64(n)
	if b.read > MaxPut {
		return n, errTooLarge()
	}
	if cover := b.res.cover(b.read); cover != nil {
		return n, cover
	}
	return n, err
}
