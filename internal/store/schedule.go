package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/sqlite"
)

// Schedule is one cron trigger of a script.
type Schedule struct {
	Cron     string
	Created  time.Time
	Modified time.Time
}

// ScriptSchedule is a cron trigger with the script it starts.
type ScriptSchedule struct {
	Ref  atoll.ScriptRef
	Cron string
}

func scanSchedule(row sqlite.Row) (s Schedule, err error) {
	var created, modified int64
	err = row.Scan(&s.Cron, &created, &modified)
	s.Created, s.Modified = fromMicros(created), fromMicros(modified)
	return s, err
}

func schedules(ctx context.Context, s sqlite.Session, script int64) ([]Schedule, error) {
	return sqlite.All(ctx, s, scanSchedule, "SELECT cron, created, modified FROM schedules WHERE script = ? ORDER BY place", script)
}

// Schedules returns the script's cron triggers in the order they were set.
func (db *DB) Schedules(ctx context.Context, ref atoll.ScriptRef) (list []Schedule, err error) {
	row, err := findScript(ctx, db.reads, ref)
	if err == nil {
		list, err = schedules(ctx, db.reads, row.key)
	}
	if err != nil {
		return nil, fmt.Errorf("get schedules of %s: %w", ref, err)
	}
	return list, nil
}

// SetSchedules replaces the script's cron triggers. One that stays keeps its creation time; one given twice counts once.
func (db *DB) SetSchedules(ctx context.Context, ref atoll.ScriptRef, crons []string) (list []Schedule, err error) {
	err = db.write(ctx, func(ctx context.Context, tx sqlite.Session) error {
		row, err := findScript(ctx, tx, ref)
		if err != nil {
			return err
		}
		old, err := schedules(ctx, tx, row.key)
		if err != nil {
			return err
		}
		if _, err := sqlite.Run(ctx, tx, "DELETE FROM schedules WHERE script = ?", row.key); err != nil {
			return err
		}
		list = mergeSchedules(old, crons)
		for place, s := range list {
			_, err := sqlite.Run(ctx, tx, "INSERT INTO schedules (script, cron, place, created, modified) VALUES (?, ?, ?, ?, ?)",
				row.key, s.Cron, place, micros(s.Created), micros(s.Modified))
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("set schedules of %s: %w", ref, err)
	}
	return list, nil
}

func mergeSchedules(old []Schedule, crons []string) (list []Schedule) {
	at := now()
	for _, cron := range crons {
		same := func(s Schedule) bool { return s.Cron == cron }
		if slices.ContainsFunc(list, same) {
			continue
		}
		s := Schedule{Cron: cron, Created: at, Modified: at}
		if i := slices.IndexFunc(old, same); i >= 0 {
			s = old[i]
		}
		list = append(list, s)
	}
	return list
}

func scanScriptSchedule(row sqlite.Row) (s ScriptSchedule, err error) {
	err = row.Scan(&s.Ref.Account, &s.Ref.Namespace, &s.Ref.Name, &s.Cron)
	return s, err
}

// AllSchedules returns every cron trigger of the node.
func (db *DB) AllSchedules(ctx context.Context) ([]ScriptSchedule, error) {
	list, err := sqlite.All(ctx, db.reads, scanScriptSchedule, `SELECT n.account, n.name, s.name, c.cron
		FROM schedules c CROSS JOIN scripts s ON s.key = c.script CROSS JOIN namespaces n ON n.key = s.namespace
		WHERE n.account IS NOT NULL ORDER BY c.script, c.place`)
	if err != nil {
		return nil, fmt.Errorf("list schedules: %w", err)
	}
	return list, nil
}
