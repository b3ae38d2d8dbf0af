package r2

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/sqlite"
)

// Bucket is a set of objects that belongs to an account.
type Bucket struct {
	Ref
	Created  time.Time
	Location string // as it was asked for
	Class    string // of objects that are put without one
	Objects  int64
	Bytes    int64 // of their content
	Head     int64 // bytes of their keys and metadata
	Uploads  int64 // multipart uploads that are open
}

// bucket is what a bucket is in memory: what the paths of objects need.
type bucket struct {
	num   int64
	ref   Ref
	class atomic.Pointer[string]
	large chan struct{} // holds a token for each large message that is being read
}

func makeBucket(ref Ref) *bucket { return &bucket{ref: ref, large: make(chan struct{}, maxLarge)} }

// The storage classes, https://developers.cloudflare.com/r2/buckets/storage-classes/. They are kept and shown; a node has
// one kind of disk.
const (
	Standard         = "Standard"
	InfrequentAccess = "InfrequentAccess"
)

func checkClass(class string) error {
	if class != Standard && class != InfrequentAccess {
		return errArgument("The storage class must be %s or %s.", Standard, InfrequentAccess)
	}
	return nil
}

var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$`)

// CheckBucketName refuses what is no name of a bucket, https://developers.cloudflare.com/r2/buckets/create-buckets/.
func CheckBucketName(name string) error {
	if !bucketName.MatchString(name) {
		return fault.New(fault.Invalid, CodeBucketName, "The specified bucket name is not valid: it has 3 to 63 lower-case letters, digits and hyphens, and neither begins nor ends with a hyphen.")
	}
	return nil
}

// CheckLocation refuses what is no location of a bucket. They are kept and shown; a node is in one place.
func CheckLocation(location string) error {
	if location != "" && !slices.Contains([]string{"apac", "eeur", "enam", "weur", "wnam", "oc"}, strings.ToLower(location)) {
		return errArgument("The location hint must be one of apac, eeur, enam, oc, weur and wnam.")
	}
	return nil
}

func (s *Store) loadBuckets(ctx context.Context) error {
	list, err := sqlite.All(ctx, s.db.Reads(), func(r sqlite.Row) (*bucket, error) {
		b, class := makeBucket(Ref{}), ""
		err := r.Scan(&b.num, &b.ref.Account, &b.ref.Name, &class)
		b.class.Store(&class)
		return b, err
	}, `SELECT num, account, name, class FROM buckets`)
	if err != nil {
		return fmt.Errorf("load buckets: %w", err)
	}
	for _, b := range list {
		s.buckets[b.ref] = b
	}
	return nil
}

func (s *Store) bucket(ref Ref) (*bucket, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if b := s.buckets[ref]; b != nil {
		return b, nil
	}
	return nil, errNoBucket()
}

// R2BucketExists reports whether the account has a bucket of that name, for what uploads bind to.
func (s *Store) R2BucketExists(_ context.Context, account atoll.AccountID, name string) (bool, error) {
	_, err := s.bucket(Ref{account, name})
	return err == nil, nil
}

// CreateBucket makes an empty bucket. Without a class, its objects are Standard.
func (s *Store) CreateBucket(ctx context.Context, ref Ref, location, class string) (Bucket, error) {
	if class == "" {
		class = Standard
	}
	if err := CheckBucketName(ref.Name); err != nil {
		return Bucket{}, err
	}
	if err := CheckLocation(location); err != nil {
		return Bucket{}, err
	}
	if err := checkClass(class); err != nil {
		return Bucket{}, err
	}
	out := Bucket{Ref: ref, Created: s.now(), Location: strings.ToUpper(location), Class: class}
	b := makeBucket(ref)
	b.class.Store(&class)
	err := s.db.Write(ctx, func(ctx context.Context, tx sqlite.Session) error {
		n, err := sqlite.One(ctx, tx, sqlite.Value[int64], `INSERT INTO accounts (account, buckets) VALUES (?, 1)
			ON CONFLICT DO UPDATE SET buckets = buckets + 1 RETURNING buckets`, ref.Account)
		if err != nil {
			return err
		}
		if n > MaxBuckets {
			return fault.Newf(fault.Invalid, CodeTooManyBuckets, "The account has %d buckets, and can have no more.", MaxBuckets)
		}
		b.num, err = sqlite.One(ctx, tx, sqlite.Value[int64], `INSERT INTO buckets (account, name, created, location, class)
			VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING num`, ref.Account, ref.Name, millis(out.Created), out.Location, class)
		if sqlite.Missing(err) {
			// The name is the account's own: https://developers.cloudflare.com/r2/api/error-codes/
			return fault.New(fault.Conflict, CodeBucketConflict, "The bucket you tried to create already exists, and you own it.")
		}
		return err
	})
	if err != nil {
		return Bucket{}, fmt.Errorf("create bucket %s: %w", ref.Name, err)
	}
	s.mu.Lock()
	s.buckets[ref] = b
	s.mu.Unlock()
	return out, nil
}

const bucketColumns = `SELECT account, name, created, location, class, objects, bytes, head, uploads FROM buckets `

func scanBucket(row sqlite.Row) (b Bucket, err error) {
	var created int64
	err = row.Scan(&b.Account, &b.Name, &created, &b.Location, &b.Class, &b.Objects, &b.Bytes, &b.Head, &b.Uploads)
	b.Created = fromMillis(created)
	return b, err
}

// Bucket returns one bucket.
func (s *Store) Bucket(ctx context.Context, ref Ref) (Bucket, error) {
	b, err := sqlite.One(ctx, s.db.Reads(), scanBucket, bucketColumns+`WHERE account = ? AND name = ?`, ref.Account, ref.Name)
	if sqlite.Missing(err) {
		err = errNoBucket()
	}
	if err != nil {
		return Bucket{}, fmt.Errorf("get bucket %s: %w", ref.Name, err)
	}
	return b, nil
}

// BucketList says which buckets Buckets returns.
type BucketList struct {
	Contains   string // a part of their names
	After      string // only those whose names come after it
	Descending bool
	Limit      int // at most so many; 0 means all
}

// Buckets returns an account's buckets by their names.
func (s *Store) Buckets(ctx context.Context, account atoll.AccountID, o BucketList) ([]Bucket, error) {
	query := bucketColumns + `WHERE account = ? AND (? = '' OR instr(name, ?) > 0) AND (? = '' OR name > ?) ORDER BY name LIMIT ?`
	if o.Descending {
		query = bucketColumns + `WHERE account = ? AND (? = '' OR instr(name, ?) > 0) AND (? = '' OR name < ?) ORDER BY name DESC LIMIT ?`
	}
	limit := o.Limit
	if limit == 0 {
		limit = -1
	}
	list, err := sqlite.All(ctx, s.db.Reads(), scanBucket, query, account, o.Contains, o.Contains, o.After, o.After, limit)
	if err != nil {
		return nil, fmt.Errorf("list buckets: %w", err)
	}
	return list, nil
}

// SetBucketClass changes the storage class of objects that are put without one.
func (s *Store) SetBucketClass(ctx context.Context, ref Ref, class string) error {
	if err := checkClass(class); err != nil {
		return err
	}
	b, err := s.bucket(ref)
	if err != nil {
		return err
	}
	err = s.db.Write(ctx, func(ctx context.Context, tx sqlite.Session) error {
		n, err := sqlite.Run(ctx, tx, `UPDATE buckets SET class = ? WHERE num = ?`, class, b.num)
		if err == nil && n == 0 {
			err = errNoBucket()
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("change bucket %s: %w", ref.Name, err)
	}
	b.class.Store(&class)
	return nil
}

// DeleteBucket deletes a bucket, which must be empty. Multipart uploads that are open in it do not count, and are aborted;
// Workers that it is bound to get errors from then on.
func (s *Store) DeleteBucket(ctx context.Context, ref Ref) error {
	b, err := s.bucket(ref)
	if err != nil {
		return err
	}
	err = s.db.Write(ctx, func(ctx context.Context, tx sqlite.Session) error {
		type counts struct{ objects, pending int64 }
		c, err := sqlite.One(ctx, tx, func(r sqlite.Row) (c counts, err error) {
			err = r.Scan(&c.objects, &c.pending)
			return c, err
		}, `SELECT objects, pending FROM buckets WHERE num = ?`, b.num)
		if sqlite.Missing(err) {
			return errNoBucket()
		}
		if err != nil {
			return err
		}
		if c.objects > 0 {
			return fault.New(fault.Conflict, CodeBucketNotEmpty, "The bucket you tried to delete is not empty.")
		}
		for _, q := range []string{
			`INSERT OR IGNORE INTO garbage (file, version) SELECT file, '' FROM parts WHERE upload IN (SELECT num FROM uploads WHERE bucket = ?)`,
			`DELETE FROM parts WHERE upload IN (SELECT num FROM uploads WHERE bucket = ?)`,
			`DELETE FROM uploads WHERE bucket = ?`,
			`DELETE FROM buckets WHERE num = ?`,
		} {
			if _, err := sqlite.Run(ctx, tx, q, b.num); err != nil {
				return err
			}
		}
		_, err = sqlite.Run(ctx, tx, `UPDATE accounts SET buckets = buckets - 1, bytes = bytes - ? WHERE account = ?`, c.pending, ref.Account)
		return err
	})
	if err != nil {
		return fmt.Errorf("delete bucket %s: %w", ref.Name, err)
	}
	s.mu.Lock()
	if s.buckets[ref] == b {
		delete(s.buckets, ref)
	}
	s.mu.Unlock()
	s.kick()
	return nil
}
