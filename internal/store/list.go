package store

import (
	"context"
	"encoding/base64"
	"fmt"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/sqlite"
)

// ScriptFilter selects and pages Scripts.
type ScriptFilter struct {
	Tags   []TagTerm
	Cursor string // as an earlier call returned it; empty for the first page
	Limit  int    // at most and by default 1000
}

// maxPage is how many scripts one call lists or deletes.
const maxPage = 1000

// Scripts lists scripts by name, those of the account itself where ns is empty. Their versions are loaded without the
// values of secrets. next is the cursor of the following page, empty at the end.
//
// A page costs what it holds, in a namespace of any size. With a filter it costs the scripts that are passed over too: of
// those that have the rarest wanted tag, or of all where the filter only refuses tags.
func (db *DB) Scripts(ctx context.Context, acct atoll.AccountID, ns atoll.NamespaceName, f ScriptFilter) (list []*atoll.Script, next string, err error) {
	after, err := parseCursor(f.Cursor)
	if err != nil {
		return nil, "", fmt.Errorf("list scripts: %w", err)
	}
	limit := pageSize(f.Limit)
	found, err := find(ctx, db.reads, scanScript, scriptColumns, acct, ns, f.Tags, after, limit+1)
	if err != nil {
		return nil, "", fmt.Errorf("list scripts of %s: %w", ns, err)
	}
	for i, s := range found {
		if i == limit {
			return list, cursor(list[i-1].Ref.Name), nil
		}
		s.Ref.Account, s.Ref.Namespace = acct, ns
		list = append(list, s.Script)
	}
	return list, "", nil
}

// find returns the first scripts after a name that match a filter.
func find[T any](ctx context.Context, s sqlite.Session, scan func(sqlite.Row) (T, error), columns string,
	acct atoll.AccountID, ns atoll.NamespaceName, filter []TagTerm, after string, limit int) ([]T, error) {
	key, err := namespaceKey(ctx, s, acct, ns)
	if err != nil {
		return nil, err
	}
	q, err := newTagQuery(filter)
	if err != nil || q.never {
		return nil, err
	}
	if err := q.rarestFirst(ctx, s, key); err != nil {
		return nil, err
	}
	query, args := q.scripts(columns, key, after, limit)
	return sqlite.All(ctx, s, scan, query, args...)
}

// DeleteScripts removes the first scripts that match the filter, at most limit (at most and by default 1000), and says
// whether there are more. An empty filter is refused.
func (db *DB) DeleteScripts(ctx context.Context, acct atoll.AccountID, ns atoll.NamespaceName, filter []TagTerm, limit int) (deleted []atoll.ScriptName, more bool, err error) {
	limit = pageSize(limit)
	if err := refuseEmpty(filter); err != nil {
		return nil, false, fmt.Errorf("delete scripts of %s: %w", ns, err)
	}
	err = db.write(ctx, func(ctx context.Context, tx sqlite.Session) error {
		found, err := find(ctx, tx, scanNamed, namedColumns, acct, ns, filter, "", limit+1)
		if err != nil {
			return err
		}
		more = len(found) > limit
		for _, s := range found[:min(limit, len(found))] {
			if _, err := sqlite.Run(ctx, tx, "DELETE FROM scripts WHERE key = ?", s.key); err != nil {
				return err
			}
			deleted = append(deleted, s.name)
		}
		return nil
	})
	if err != nil {
		return nil, false, fmt.Errorf("delete scripts of %s: %w", ns, err)
	}
	return deleted, more, nil
}

// named is a script to delete.
type named struct {
	key  int64
	name atoll.ScriptName
}

const namedColumns = "s.key, s.name FROM scripts s"

func scanNamed(row sqlite.Row) (n named, err error) {
	err = row.Scan(&n.key, &n.name)
	return n, err
}

func pageSize(limit int) int {
	if limit <= 0 || limit > maxPage {
		return maxPage
	}
	return limit
}

// cursor is opaque to clients: "1" and the name of the last script they have, in base64.
func cursor(last atoll.ScriptName) string {
	return base64.RawURLEncoding.EncodeToString([]byte("1" + last))
}

func parseCursor(s string) (after string, err error) {
	if s == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil && len(b) > 1 && b[0] == '1' {
		if _, err = atoll.ParseScriptName(string(b[1:])); err == nil {
			return string(b[1:]), nil
		}
	}
	return "", fault.New(fault.Invalid, 10021, "the cursor is not one that this API returned")
}
