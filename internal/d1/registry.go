package d1

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/sqlite"
)

// ID is the UUID of a database.
type ID string

// Database is what is known of a database without opening it.
type Database struct {
	ID           ID
	Account      atoll.AccountID
	Name         string // unique in its account
	Created      time.Time
	Location     string // a hint that was given, and that a node alone has no use for
	Jurisdiction string // likewise
	Size         int64  // of its file
	History      int64  // bytes of what it was before
}

// The codes of the API. https://developers.cloudflare.com/api/resources/d1/ lists none; these are what its clients know.
const (
	codeMalformed = 7400
	codeNotFound  = 7404
	codeTooMany   = 7406
	codeQuery     = 7500
	codeNameTaken = 7502
	codeFull      = 7507
)

// missing is the fault of a database that is not there, or that is somebody else's.
func missing(id string) error {
	return fault.Newf(fault.NotFound, codeNotFound, "The database %.64s could not be found", id)
}

var uuid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

var validName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_. -]{0,254}$`)

const selectDatabases = `SELECT id, account, name, created, location, jurisdiction FROM databases`

func scanDatabase(row sqlite.Row) (d Database, err error) {
	var created int64
	err = row.Scan(&d.ID, &d.Account, &d.Name, &created, &d.Location, &d.Jurisdiction)
	d.Created = time.UnixMicro(created)
	return d, err
}

// Create makes an empty database. Its name must be new in the account.
func (s *Store) Create(ctx context.Context, d Database) (Database, error) {
	if !validName.MatchString(d.Name) {
		return Database{}, fault.New(fault.Invalid, codeMalformed,
			"The name of a database has 1 to 255 letters, digits, '_', '-', '.' and ' ', and begins with a letter or a digit.")
	}
	if uuid.MatchString(d.Name) {
		return Database{}, fault.New(fault.Invalid, codeMalformed, "The name of a database cannot have the form of an id.")
	}
	d.ID, d.Created, d.Size = ID(atoll.NewUUID()), s.opts.Now().Truncate(time.Microsecond), 0
	err := s.registry.Write(ctx, func(ctx context.Context, tx sqlite.Session) error {
		n, err := sqlite.One(ctx, tx, sqlite.Value[int], `SELECT count(*) FROM databases WHERE account = ?`, string(d.Account))
		if err != nil {
			return err
		}
		if n >= s.opts.Databases {
			return fault.Newf(fault.Limited, codeTooMany, "The account has %d databases already, which is the most there may be.", n)
		}
		n, err = sqlite.One(ctx, tx, sqlite.Value[int], `SELECT count(*) FROM databases WHERE account = ? AND name = ?`, string(d.Account), d.Name)
		if err == nil && n > 0 {
			err = fault.Newf(fault.Invalid, codeNameTaken, "A database with the name '%s' exists already", d.Name)
		}
		if err != nil {
			return err
		}
		_, err = sqlite.Run(ctx, tx, `INSERT INTO databases (id, account, name, created, location, jurisdiction) VALUES (?, ?, ?, ?, ?, ?)`,
			string(d.ID), string(d.Account), d.Name, d.Created.UnixMicro(), d.Location, d.Jurisdiction)
		return err
	})
	if err != nil {
		return Database{}, fmt.Errorf("create database: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return d, s.add(d)
}

// Find returns the account's database of that id, or else of that name.
func (s *Store) Find(acct atoll.AccountID, idOrName string) (Database, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	db := s.dbs[ID(idOrName)]
	if db == nil && s.accounts[acct] != nil {
		db = s.accounts[acct].names[idOrName]
	}
	if db == nil || db.Account != acct {
		return Database{}, missing(idOrName)
	}
	return db.info(), nil
}

// D1Exists tells whether the account has a database of this id, for what uploads bind to.
func (s *Store) D1Exists(_ context.Context, acct atoll.AccountID, id string) (bool, error) {
	_, err := s.database(acct, ID(id))
	return err == nil, nil
}

func (s *Store) database(acct atoll.AccountID, id ID) (*database, error) {
	s.mu.RLock()
	db := s.dbs[id]
	s.mu.RUnlock()
	if db == nil || db.Account != acct {
		return nil, missing(string(id))
	}
	return db, nil
}

// List returns a page of the account's databases whose names have the text in them, the newest last, and how many there
// are in all. Pages count from 1.
func (s *Store) List(acct atoll.AccountID, text string, page, perPage int) ([]Database, int) {
	s.mu.RLock()
	var list []Database
	if o := s.accounts[acct]; o != nil {
		for name, db := range o.names {
			if strings.Contains(strings.ToLower(name), strings.ToLower(text)) {
				list = append(list, db.info())
			}
		}
	}
	s.mu.RUnlock()
	slices.SortFunc(list, func(a, b Database) int {
		return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.Name, b.Name))
	})
	total := len(list)
	from := min((page-1)*perPage, total)
	return list[from:min(from+perPage, total)], total
}

// Delete deletes a database, whoever is bound to it: Workers that use it then have an error, as on Cloudflare. A call under
// way is stopped.
func (s *Store) Delete(ctx context.Context, acct atoll.AccountID, id ID) error {
	db, err := s.database(acct, id)
	if err != nil {
		return err
	}
	err = s.registry.Write(ctx, func(ctx context.Context, tx sqlite.Session) error {
		n, err := sqlite.Run(ctx, tx, `DELETE FROM databases WHERE id = ?`, string(id))
		if err == nil && n == 0 {
			err = missing(string(id))
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("delete database %s: %w", id, err)
	}
	s.mu.Lock()
	delete(s.dbs, id)
	delete(db.owner.names, db.Name)
	s.mu.Unlock()
	if err := db.destroy(); err != nil {
		s.lg.Error("remove a deleted database's files; the next start will", "database", id, "err", err)
	}
	return nil
}
