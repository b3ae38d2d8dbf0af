package kv

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
)

// Namespace is a set of keys that belongs to an account.
type Namespace struct {
	ID      NamespaceID
	Account atoll.AccountID
	Title   string // unique in its account
	Created time.Time
	Keys    int64 // stored, the expired but not yet removed ones included
	Bytes   int64 // of their keys, values and metadata
}

// space is what a namespace is in memory.
type space struct {
	num         int64
	id          NamespaceID
	account     string
	owner       *atomic.Int64 // bytes the account stores
	keys, bytes atomic.Int64
	gone        atomic.Bool
}

func errNamespace() error {
	return fault.New(fault.NotFound, codeNamespaceNotFound, "namespace not found")
}

func (s *Store) space(id NamespaceID) (*space, error) {
	s.mu.RLock()
	sp := s.spaces[id]
	s.mu.RUnlock()
	if sp == nil {
		return nil, errNamespace()
	}
	return sp, nil
}

func (s *Store) owned(acct atoll.AccountID, id NamespaceID) (*space, error) {
	sp, err := s.space(id)
	if err == nil && sp.account != string(acct) {
		return nil, errNamespace()
	}
	return sp, err
}

func (s *Store) addSpace(sp *space) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sp.owner = s.usage[sp.account]; sp.owner == nil {
		sp.owner = new(atomic.Int64)
		s.usage[sp.account] = sp.owner
	}
	s.spaces[sp.id] = sp
	s.byNum[sp.num] = sp
}

func (s *Store) removeSpace(sp *space) {
	sp.gone.Store(true)
	sp.owner.Add(-sp.bytes.Swap(0))
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.spaces, sp.id)
	delete(s.byNum, sp.num)
}

// CreateNamespace makes an empty namespace. Its title must be new in the account.
func (s *Store) CreateNamespace(ctx context.Context, acct atoll.AccountID, title string) (Namespace, error) {
	if err := checkTitle(title); err != nil {
		return Namespace{}, err
	}
	sp := &space{id: NamespaceID(atoll.NewID()), account: string(acct)}
	created := s.opts.Now().Truncate(time.Microsecond)
	err := s.writer.do(ctx, &write{
		apply: func(t *tx) error {
			if err := t.checkTitle(acct, title, 0); err != nil {
				return err
			}
			_, err := t.row(`INSERT INTO namespaces (id, account, title, created) VALUES (?, ?, ?, ?) RETURNING num`,
				[]any{string(sp.id), string(acct), title, created.UnixMicro()}, &sp.num)
			return err
		},
		after: func() { s.addSpace(sp) },
	})
	if err != nil {
		return Namespace{}, fmt.Errorf("create kv namespace: %w", err)
	}
	return Namespace{ID: sp.id, Account: acct, Title: title, Created: created}, nil
}

func checkTitle(title string) error {
	if strings.TrimSpace(title) == "" {
		return fault.New(fault.Invalid, codeNoTitle, "title is required")
	}
	if len(title) > 512 {
		return fault.New(fault.Invalid, codeNoTitle, "title exceeds 512 bytes")
	}
	return nil
}

// checkTitle refuses a title that a namespace other than num has.
func (t *tx) checkTitle(acct atoll.AccountID, title string, num int64) error {
	var other int64
	found, err := t.row(`SELECT num FROM namespaces WHERE account = ? AND title = ?`, []any{string(acct), title}, &other)
	if err == nil && found && other != num {
		return fault.New(fault.Invalid, codeTitleTaken, "a namespace with this account ID and title already exists")
	}
	return err
}

// RenameNamespace gives a namespace another title.
func (s *Store) RenameNamespace(ctx context.Context, acct atoll.AccountID, id NamespaceID, title string) error {
	sp, err := s.owned(acct, id)
	if err != nil {
		return err
	}
	if err := checkTitle(title); err != nil {
		return err
	}
	err = s.writer.do(ctx, &write{apply: func(t *tx) error {
		if t.isGone(sp) {
			return errNamespace()
		}
		if err := t.checkTitle(acct, title, sp.num); err != nil {
			return err
		}
		return t.exec(`UPDATE namespaces SET title = ? WHERE num = ?`, title, sp.num)
	}})
	if err != nil {
		return fmt.Errorf("rename kv namespace %s: %w", id, err)
	}
	return nil
}

// DeleteNamespace deletes a namespace with all its keys; their rows are removed in the background.
func (s *Store) DeleteNamespace(ctx context.Context, acct atoll.AccountID, id NamespaceID) error {
	sp, err := s.owned(acct, id)
	if err != nil {
		return err
	}
	err = s.writer.do(ctx, &write{
		apply: func(t *tx) error {
			if t.isGone(sp) {
				return errNamespace()
			}
			if err := t.exec(`DELETE FROM namespaces WHERE num = ?`, sp.num); err != nil {
				return err
			}
			t.dropped[sp] = true
			return t.exec(`INSERT OR IGNORE INTO dead (ns) VALUES (?)`, sp.num)
		},
		after: func() { s.removeSpace(sp) },
	})
	if err != nil {
		return fmt.Errorf("delete kv namespace %s: %w", id, err)
	}
	return nil
}

func (t *tx) isGone(sp *space) bool { return sp.gone.Load() || t.dropped[sp] }

// Namespace returns one namespace of an account.
func (s *Store) Namespace(ctx context.Context, acct atoll.AccountID, id NamespaceID) (Namespace, error) {
	sp, err := s.owned(acct, id)
	if err != nil {
		return Namespace{}, err
	}
	list, err := s.namespaces(ctx, `WHERE num = ?`, sp.num)
	if err != nil {
		return Namespace{}, err
	}
	if len(list) == 0 {
		return Namespace{}, errNamespace()
	}
	return list[0], nil
}

// KVNamespaceExists reports whether the account has a namespace of this id, for what uploads bind to.
func (s *Store) KVNamespaceExists(_ context.Context, acct atoll.AccountID, id string) (bool, error) {
	_, err := s.owned(acct, NamespaceID(id))
	return err == nil, nil
}

// NamespaceOrder says how Namespaces sorts, and which page of how many it returns; pages count from 1.
type NamespaceOrder struct {
	ByTitle       bool // else by id
	Descending    bool
	Page, PerPage int
}

// Namespaces returns a page of an account's namespaces, empty past the end, and how many there are in all.
func (s *Store) Namespaces(ctx context.Context, acct atoll.AccountID, o NamespaceOrder) ([]Namespace, int, error) {
	column, direction := "id", "ASC"
	if o.ByTitle {
		column = "title"
	}
	if o.Descending {
		direction = "DESC"
	}
	list, err := s.namespaces(ctx, `WHERE account = ? ORDER BY `+column+` `+direction+` LIMIT ? OFFSET ?`,
		string(acct), o.PerPage, (o.Page-1)*o.PerPage)
	if err != nil {
		return nil, 0, err
	}
	var total int
	err = s.readers.QueryRowContext(ctx, `SELECT count(*) FROM namespaces WHERE account = ?`, string(acct)).Scan(&total)
	return list, total, err
}

func (s *Store) namespaces(ctx context.Context, where string, args ...any) ([]Namespace, error) {
	rows, err := s.readers.QueryContext(ctx, `SELECT id, account, title, created, keys, bytes FROM namespaces `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("read kv namespaces: %w", err)
	}
	defer rows.Close()
	var list []Namespace
	for rows.Next() {
		var n Namespace
		var created int64
		if err := rows.Scan(&n.ID, &n.Account, &n.Title, &created, &n.Keys, &n.Bytes); err != nil {
			return nil, fmt.Errorf("read kv namespaces: %w", err)
		}
		n.Created = time.UnixMicro(created)
		list = append(list, n)
	}
	return list, rows.Err()
}
