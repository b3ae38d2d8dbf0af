package store

import (
	"context"
	"encoding/json"
	"fmt"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/sqlite"
)

// addQueues notes which queues a version sends to.
func addQueues(ctx context.Context, tx sqlite.Session, version int64, bindings []atoll.Binding) error {
	for _, b := range bindings {
		if b.Type != "queue" {
			continue
		}
		var f struct {
			Queue string `json:"queue_name"`
		}
		if err := json.Unmarshal(b.Fields, &f); err != nil {
			return fmt.Errorf("read binding %s: %w", b.Name, err)
		}
		if _, err := sqlite.Run(ctx, tx, "INSERT OR IGNORE INTO version_queues (version, queue) VALUES (?, ?)", version, f.Queue); err != nil {
			return err
		}
	}
	return nil
}

const producers = ` FROM version_queues q CROSS JOIN versions v ON v.key = q.version
	CROSS JOIN scripts s ON s.key = v.script AND s.active = v.number CROSS JOIN namespaces n ON n.key = s.namespace
	WHERE q.queue = ? AND n.account = ?`

// Producers returns the scripts whose active version sends to the account's queue of that name, the first limit of them by
// name, and how many there are in all.
func (db *DB) Producers(ctx context.Context, account atoll.AccountID, queue string, limit int) (list []atoll.ScriptRef, total int, err error) {
	total, err = sqlite.One(ctx, db.reads, sqlite.Value[int], "SELECT count(*)"+producers, queue, account)
	if err == nil && total > 0 {
		list, err = sqlite.All(ctx, db.reads, scanRef, "SELECT n.account, n.name, s.name"+producers+" ORDER BY n.name, s.name LIMIT ?", queue, account, limit)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("list producers of queue %s: %w", queue, err)
	}
	return list, total, nil
}

func scanRef(row sqlite.Row) (ref atoll.ScriptRef, err error) {
	err = row.Scan(&ref.Account, &ref.Namespace, &ref.Name)
	return ref, err
}
