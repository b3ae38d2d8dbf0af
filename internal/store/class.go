package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/sqlite"
)

// classesColumn is the list of a script's classes for parseClasses.
const classesColumn = `(SELECT json_group_array(json_object('id', c.id, 'name', c.name, 'sqlite', json(iif(c.sqlite, 'true', 'false'))))
	FROM classes c WHERE c.script = s.key)`

func parseClasses(b []byte) (list []atoll.Class, err error) {
	if err := json.Unmarshal(b, &list); err != nil || len(list) == 0 {
		return nil, err
	}
	slices.SortFunc(list, func(a, b atoll.Class) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// putClasses makes list the script's classes. One that was there and is not in the list is gone, with its objects.
func (r *scriptRow) putClasses(ctx context.Context, tx sqlite.Session, list *[]atoll.Class) error {
	if list == nil {
		return nil
	}
	had, err := sqlite.All(ctx, tx, sqlite.Value[string], "SELECT id FROM classes WHERE script = ?", r.key)
	if err != nil {
		return err
	}
	for _, id := range had {
		if !slices.ContainsFunc(*list, func(c atoll.Class) bool { return c.ID == id }) {
			if _, err := sqlite.Run(ctx, tx, "DELETE FROM classes WHERE id = ?", id); err != nil {
				return err
			}
		}
	}
	// Two classes may have changed names with one another: none keeps its old name while the new ones are given.
	if _, err := sqlite.Run(ctx, tx, "UPDATE classes SET name = id || ' ' WHERE script = ?", r.key); err != nil {
		return err
	}
	for _, c := range *list {
		put, err := sqlite.Run(ctx, tx, `INSERT INTO classes (id, script, name, sqlite, created) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET name = excluded.name WHERE script = excluded.script`, c.ID, r.key, c.Name, c.SQLite, micros(now()))
		if err == nil && put != 1 {
			err = notTheirs(c.ID)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Transfer says that a class is another script's from now on.
type Transfer struct {
	Class string           // its id
	From  atoll.ScriptName // whose it is until now, in the same place as the new one
}

// takeClasses makes classes of other scripts of the same place the script's, which is ref; putClasses gives them their names.
// What their objects do by themselves goes by the outbound Worker that it went by, until the script is called by another one.
func (r *scriptRow) takeClasses(ctx context.Context, tx sqlite.Session, ref atoll.ScriptRef, list []Transfer) error {
	for _, t := range list {
		from, err := findScript(ctx, tx, atoll.ScriptRef{Account: ref.Account, Namespace: ref.Namespace, Name: t.From})
		if err != nil {
			return err
		}
		taken, err := sqlite.Run(ctx, tx, "UPDATE classes SET script = ?, name = id || ' ' WHERE id = ? AND script = ?", r.key, t.Class, from.key)
		if err == nil && taken != 1 {
			err = notTheirs(t.Class)
		}
		if err == nil {
			_, err = sqlite.Run(ctx, tx, "UPDATE scripts SET outbound = coalesce(outbound, (SELECT outbound FROM scripts WHERE key = ?)) WHERE key = ?", from.key, r.key)
		}
		if err == nil {
			_, err = sqlite.Run(ctx, tx, "UPDATE scripts SET modified = ? WHERE key = ?", micros(now()), from.key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func notTheirs(class string) error {
	return fault.Newf(fault.Conflict, 10021, "the Durable Object class %s belongs to another script meanwhile", class)
}

// ScriptClass is a class with the script that it belongs to.
type ScriptClass struct {
	atoll.Class
	Script atoll.ScriptRef
}

func scanScriptClass(row sqlite.Row) (c ScriptClass, err error) {
	err = row.Scan(&c.ID, &c.Name, &c.SQLite, &c.Script.Account, &c.Script.Namespace, &c.Script.Name)
	return c, err
}

const classQuery = `SELECT c.id, c.name, c.sqlite, n.account, n.name, s.name
	FROM classes c CROSS JOIN scripts s ON s.key = c.script CROSS JOIN namespaces n ON n.key = s.namespace WHERE n.account IS NOT NULL `

// AllClasses returns every Durable Object class of the node.
func (db *DB) AllClasses(ctx context.Context) ([]ScriptClass, error) {
	list, err := sqlite.All(ctx, db.reads, scanScriptClass, classQuery+"ORDER BY c.id")
	if err != nil {
		return nil, fmt.Errorf("list classes: %w", err)
	}
	return list, nil
}

// Classes returns the account's Durable Object classes in the order of their ids, and how many there are.
func (db *DB) Classes(ctx context.Context, account atoll.AccountID, limit, offset int) (list []ScriptClass, total int, err error) {
	list, err = sqlite.All(ctx, db.reads, scanScriptClass, classQuery+"AND n.account = ? ORDER BY c.id LIMIT ? OFFSET ?", account, limit, offset)
	if err == nil {
		total, err = sqlite.One(ctx, db.reads, sqlite.Value[int], `SELECT count(*) FROM classes c JOIN scripts s ON s.key = c.script
			JOIN namespaces n ON n.key = s.namespace WHERE n.account = ?`, account)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("list classes of account %s: %w", account, err)
	}
	return list, total, nil
}

// Class returns the account's class of an id; a missing one is NotFound, 10066.
func (db *DB) Class(ctx context.Context, account atoll.AccountID, id string) (ScriptClass, error) {
	c, err := sqlite.One(ctx, db.reads, scanScriptClass, classQuery+"AND n.account = ? AND c.id = ?", account, id)
	if sqlite.Missing(err) {
		err = noClass()
	}
	if err != nil {
		return c, fmt.Errorf("get class %s: %w", id, err)
	}
	return c, nil
}

// SetOutbound remembers what a script's objects send their subrequests by; nil: by none.
func (db *DB) SetOutbound(ctx context.Context, ref atoll.ScriptRef, outbound json.RawMessage) error {
	err := db.file.Write(ctx, func(ctx context.Context, tx sqlite.Session) error {
		row, err := findScript(ctx, tx, ref)
		if err == nil {
			_, err = sqlite.Run(ctx, tx, "UPDATE scripts SET outbound = ? WHERE key = ?", jsonText(outbound), row.key)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("set outbound of %s: %w", ref, err)
	}
	return nil
}

// ClassScript returns the script that a class belongs to; a missing class is NotFound, 10066.
func (db *DB) ClassScript(ctx context.Context, id string) (atoll.ScriptRef, error) {
	c, err := sqlite.One(ctx, db.reads, scanScriptClass, classQuery+"AND c.id = ?", id)
	if sqlite.Missing(err) {
		err = noClass()
	}
	if err != nil {
		return c.Script, fmt.Errorf("get class %s: %w", id, err)
	}
	return c.Script, nil
}

func noClass() error {
	return fault.New(fault.NotFound, 10066, "Durable Object namespace not found.")
}
