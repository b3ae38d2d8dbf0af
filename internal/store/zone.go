package store

import (
	"context"
	"fmt"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/sqlite"
)

// Zone is a domain whose requests the node answers.
type Zone struct {
	ID      string // 32 hex digits
	Account atoll.AccountID
	Name    string
	Created time.Time
}

const zoneColumns = "SELECT id, account, name, created FROM zones "

func scanZone(row sqlite.Row) (z Zone, err error) {
	var created int64
	err = row.Scan(&z.ID, &z.Account, &z.Name, &created)
	z.Created = fromMicros(created)
	return z, err
}

func noZone(id string) error {
	return fault.Newf(fault.NotFound, 7003, "Could not route to /zones/%s, perhaps your object identifier is invalid?", id)
}

// EnsureZone returns the account's zone of that name and makes it where it is missing. A name that another account has is
// Conflict: one node cannot serve two zones of one name.
func (db *DB) EnsureZone(ctx context.Context, acct atoll.AccountID, name string) (z Zone, err error) {
	err = db.write(ctx, func(ctx context.Context, tx sqlite.Session) error {
		z, err = sqlite.One(ctx, tx, scanZone, zoneColumns+"WHERE name = ?", name)
		if err == nil && z.Account != acct {
			return fault.Newf(fault.Conflict, 1061, "%s already exists in another account.", name)
		}
		if !sqlite.Missing(err) {
			return err
		}
		if _, err := sqlite.One(ctx, tx, scanAccount, accountColumns+"WHERE id = ?", acct); sqlite.Missing(err) {
			return noAccount(acct)
		}
		z = Zone{ID: atoll.NewID(), Account: acct, Name: name, Created: now()}
		_, err = sqlite.Run(ctx, tx, "INSERT INTO zones (id, account, name, created) VALUES (?, ?, ?, ?)", z.ID, acct, name, micros(z.Created))
		return err
	})
	if err != nil {
		return Zone{}, fmt.Errorf("ensure zone %s: %w", name, err)
	}
	return z, nil
}

// Zones lists the account's zones by name; all of the node with an empty account.
func (db *DB) Zones(ctx context.Context, acct atoll.AccountID) (list []Zone, err error) {
	if acct == "" {
		list, err = sqlite.All(ctx, db.reads, scanZone, zoneColumns+"ORDER BY name")
	} else {
		list, err = sqlite.All(ctx, db.reads, scanZone, zoneColumns+"WHERE account = ? ORDER BY name", acct)
	}
	if err != nil {
		return nil, fmt.Errorf("list zones: %w", err)
	}
	return list, nil
}

// Zone returns a zone by its ID; the error of a missing one is NotFound, 7003.
func (db *DB) Zone(ctx context.Context, id string) (Zone, error) {
	z, err := getZone(ctx, db.reads, id)
	if err != nil {
		return Zone{}, fmt.Errorf("get zone: %w", err)
	}
	return z, nil
}

func getZone(ctx context.Context, s sqlite.Session, id string) (Zone, error) {
	z, err := sqlite.One(ctx, s, scanZone, zoneColumns+"WHERE id = ?", id)
	if sqlite.Missing(err) {
		err = noZone(id)
	}
	return z, err
}

// ZoneByName returns the account's zone of that name; the error of a missing one is NotFound, 7003.
func (db *DB) ZoneByName(ctx context.Context, acct atoll.AccountID, name string) (Zone, error) {
	z, err := sqlite.One(ctx, db.reads, scanZone, zoneColumns+"WHERE account = ? AND name = ?", acct, name)
	if sqlite.Missing(err) {
		err = noZone(name)
	}
	if err != nil {
		return Zone{}, fmt.Errorf("get zone: %w", err)
	}
	return z, nil
}
