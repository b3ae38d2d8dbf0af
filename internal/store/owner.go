package store

import (
	"context"
	"fmt"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/sqlite"
)

// Owner is what a version belongs to, by ids that no script or namespace made later will have, whatever its name.
type Owner struct {
	Script    string // the script's Tag
	Namespace string // the dispatch namespace's ID
}

// Owner returns what a version of the script of that name belongs to. Once that script is gone there is no such version,
// though one of the same name may be there.
func (db *DB) Owner(ctx context.Context, ref atoll.ScriptRef, version atoll.VersionID) (Owner, error) {
	scan := func(row sqlite.Row) (o Owner, err error) {
		err = row.Scan(&o.Script, &o.Namespace)
		return o, err
	}
	o, err := sqlite.One(ctx, db.reads, scan, `SELECT s.tag, n.id FROM namespaces n JOIN scripts s ON s.namespace = n.key
		JOIN versions v ON v.script = s.key WHERE n.account = ? AND n.name = ? AND s.name = ? AND v.id = ?`,
		ref.Account, ref.Namespace, ref.Name, version)
	if sqlite.Missing(err) {
		err = noVersion()
	}
	if err != nil {
		return Owner{}, fmt.Errorf("owner of version %s of %s: %w", version, ref, err)
	}
	return o, nil
}
