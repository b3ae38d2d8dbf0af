package r2

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"

	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/sqlite"
)

// ListOptions say which objects List returns.
type ListOptions struct {
	Prefix    string
	Delimiter string // group the keys that have it behind the prefix
	After     string // only keys after this one
	Cursor    string // go on where a page ended
	Limit     int    // 0: MaxList
	// Accept is asked about each entry, an object or a group, before it is put on the page, unless it is nil; where it
	// says no, the page ends.
	Accept func(o *Object, group string) bool
}

// Page is a part of a list.
type Page struct {
	Objects  []Object
	Prefixes []string // of the keys that were grouped
	Cursor   string   // "" at the end
}

// List returns objects in the order of their keys' bytes.
func (s *Store) List(ctx context.Context, ref Ref, o ListOptions) (Page, error) {
	b, err := s.bucket(ref)
	if err == nil && (o.Limit < 0 || o.Limit > MaxList) {
		err = fault.Newf(fault.Invalid, CodeMaxKeys, "MaxKeys params must be positive integer <= %d.", MaxList)
	}
	if err == nil && max(len(o.Prefix), len(o.Delimiter), len(o.After)) > 4*MaxKey {
		err = errObjectName()
	}
	var from string
	if err == nil {
		from, err = o.start()
	}
	if err != nil {
		return Page{}, fmt.Errorf("list objects: %w", err)
	}
	if o.Limit == 0 {
		o.Limit = MaxList
	}
	l := lister{s: s, b: b, o: o, from: from}
	if err := l.run(ctx); err != nil {
		return Page{}, fmt.Errorf("list objects: %w", err)
	}
	return l.page, nil
}

// start is the least text that a key of the page may be.
func (o ListOptions) start() (string, error) {
	from := o.Prefix
	if o.After != "" {
		from = max(from, o.After+"\x00")
	}
	if o.Cursor != "" {
		raw, err := base64.RawURLEncoding.DecodeString(o.Cursor)
		if err != nil || len(raw) > 4*MaxKey+1 {
			return "", errArgument("The cursor is not one that a list returned.")
		}
		from = max(from, string(raw))
	}
	return from, nil
}

// lister makes one page. Grouped keys are skipped, not read: it looks for the first key past the group.
type lister struct {
	s    *Store
	b    *bucket
	o    ListOptions
	from string // the next key is this or comes after it
	page Page
	done bool
}

func (l *lister) run(ctx context.Context) error {
	for !l.done {
		n := l.o.Limit - len(l.page.Objects) - len(l.page.Prefixes) + 1
		if l.o.Delimiter != "" {
			n = min(n, 100) // much of what is read may lie in one group
		}
		rows, err := sqlite.All(ctx, l.s.db.Reads(), scanObject(false), `SELECT `+objectColumns+` FROM objects WHERE bucket = ? AND key >= ? ORDER BY key LIMIT ?`,
			l.b.num, []byte(l.from), n)
		if err != nil {
			return err
		}
		l.done = len(rows) < n
		for i := range rows {
			if rows[i].Key < l.from {
				continue // in the group before it
			}
			if !strings.HasPrefix(rows[i].Key, l.o.Prefix) {
				l.done = true
				return nil
			}
			if !l.add(&rows[i].Object) {
				l.page.Cursor = base64.RawURLEncoding.EncodeToString([]byte(l.from))
				l.done = true
				return nil
			}
			if l.done && l.from == "" {
				return nil
			}
		}
	}
	return nil
}

// add puts an object, or the group it is in, on the page, unless that is full.
func (l *lister) add(o *Object) bool {
	group := ""
	if l.o.Delimiter != "" {
		if i := strings.Index(o.Key[len(l.o.Prefix):], l.o.Delimiter); i >= 0 {
			group = o.Key[:len(l.o.Prefix)+i+len(l.o.Delimiter)]
		}
	}
	if len(l.page.Objects)+len(l.page.Prefixes) == l.o.Limit || l.o.Accept != nil && !l.o.Accept(o, group) {
		return false
	}
	if group == "" {
		l.page.Objects = append(l.page.Objects, *o)
		l.from = o.Key + "\x00"
		return true
	}
	l.page.Prefixes = append(l.page.Prefixes, group)
	var more bool
	if l.from, more = after(group); !more {
		l.done, l.from = true, ""
	}
	return true
}

// CursorAfter is the cursor of a list that goes on behind all keys that begin with a prefix.
func CursorAfter(prefix string) string {
	next, more := after(prefix)
	if !more {
		next = prefix + "\U0010ffff"
	}
	return base64.RawURLEncoding.EncodeToString([]byte(next))
}

// after is the least text that comes after all that begin with prefix; more is false where there is none.
func after(prefix string) (next string, more bool) {
	b := []byte(prefix)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] != 0xff {
			b[i]++
			return string(b[:i+1]), true
		}
	}
	return "", false
}
