package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/sqlite"
)

// Deployment records that versions of a script became the ones that serve.
type Deployment struct {
	ID          string // UUID
	Created     time.Time
	Source      string
	Strategy    string // "percentage"
	Versions    []DeployedVersion
	Annotations map[string]string
}

// DeployedVersion is a version's share of a deployment.
type DeployedVersion struct {
	VersionID  atoll.VersionID `json:"version_id"`
	Percentage float64         `json:"percentage"`
}

// Deploy makes a stored version the active one and records the deployment; a missing version is NotFound, 10007.
func (db *DB) Deploy(ctx context.Context, ref atoll.ScriptRef, id atoll.VersionID, source string, annotations map[string]string) (d Deployment, err error) {
	err = db.write(ctx, func(ctx context.Context, tx sqlite.Session) error {
		row, err := findScript(ctx, tx, ref)
		if err != nil {
			return err
		}
		number, err := sqlite.One(ctx, tx, sqlite.Value[int], versionNumberQuery, row.key, id)
		if sqlite.Missing(err) {
			return noVersion()
		}
		if err != nil {
			return err
		}
		if d, err = row.deploy(ctx, tx, &atoll.Version{ID: id, Number: number}, source, annotations); err != nil {
			return err
		}
		return row.prune(ctx, tx) // the version active until now may be an old one
	})
	if err != nil {
		return Deployment{}, fmt.Errorf("deploy version %s of %s: %w", id, ref, err)
	}
	return d, nil
}

func (r *scriptRow) deploy(ctx context.Context, tx sqlite.Session, v *atoll.Version, source string, annotations map[string]string) (Deployment, error) {
	d := Deployment{ID: atoll.NewUUID(), Created: now(), Source: source, Strategy: "percentage", Annotations: annotations,
		Versions: []DeployedVersion{{VersionID: v.ID, Percentage: 100}}}
	versions, err := json.Marshal(d.Versions)
	if err != nil {
		return d, err
	}
	notes, err := json.Marshal(annotations)
	if err != nil {
		return d, err
	}
	_, err = sqlite.Run(ctx, tx, "INSERT INTO deployments (script, id, created, source, strategy, versions, annotations) VALUES (?, ?, ?, ?, ?, ?, ?)",
		r.key, d.ID, micros(d.Created), d.Source, d.Strategy, string(versions), string(notes))
	if err != nil {
		return d, err
	}
	if r.active != 0 { // a first deployment has no older ones to remove
		if _, err := sqlite.Run(ctx, tx, pruneDeployments, r.key, keepVersions); err != nil {
			return d, err
		}
	}
	r.active = v.Number
	_, err = sqlite.Run(ctx, tx, `UPDATE scripts SET active = ?1, modified = ?2,
		last_deployed_from = coalesce(nullif(?3, ''), last_deployed_from) WHERE key = ?4`, v.Number, micros(d.Created), source, r.key)
	return d, err
}

const pruneDeployments = `DELETE FROM deployments WHERE script = ?1
	AND key <= (SELECT key FROM deployments WHERE script = ?1 ORDER BY key DESC LIMIT 1 OFFSET ?2)`

func scanDeployment(row sqlite.Row) (d Deployment, err error) {
	var created int64
	var versions, annotations []byte
	if err := row.Scan(&d.ID, &created, &d.Source, &d.Strategy, &versions, &annotations); err != nil {
		return d, err
	}
	d.Created = fromMicros(created)
	if err := json.Unmarshal(versions, &d.Versions); err != nil {
		return d, err
	}
	return d, json.Unmarshal(annotations, &d.Annotations)
}

// Deployments lists the script's deployments, newest first. As many are kept as versions.
func (db *DB) Deployments(ctx context.Context, ref atoll.ScriptRef) (list []Deployment, err error) {
	row, err := findScript(ctx, db.reads, ref)
	if err == nil {
		list, err = sqlite.All(ctx, db.reads, scanDeployment,
			"SELECT id, created, source, strategy, versions, annotations FROM deployments WHERE script = ? ORDER BY key DESC", row.key)
	}
	if err != nil {
		return nil, fmt.Errorf("list deployments of %s: %w", ref, err)
	}
	return list, nil
}
