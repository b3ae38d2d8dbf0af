package store

import (
	"context"
	"encoding/json"
	"fmt"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/sqlite"
)

// ScriptChange is what a call changes of the script as a whole, apart from its versions; nil leaves a field as it is.
type ScriptChange struct {
	Deploy                bool   // PutVersion: make the new version the active one
	Source                string // PutVersion: "api", "wrangler" or "dash"
	Tags                  *[]string
	Logpush               *bool
	Observability         *json.RawMessage // pointing to nil clears it
	TailConsumers         *json.RawMessage // likewise
	MigrationTag          *string
	DeploymentAnnotations map[string]string
	AssetFiles            []string       // PutVersion: the blobs of the version's assets, the list of them apart
	Classes               *[]atoll.Class // PutVersion: all of its Durable Object classes
	Transfers             []Transfer     // PutVersion: those of them that are other scripts' until now
}

// scriptRow is what changes to a script need to know of it.
type scriptRow struct {
	key, namespace int64
	name           atoll.ScriptName
	tag            string
	tags           []string
	lastNumber     int
	active         int
}

const findScriptQuery = `SELECT s.key, s.namespace, s.name, s.tag, s.tags, s.last_number, s.active
	FROM namespaces n JOIN scripts s ON s.namespace = n.key WHERE n.account = ? AND n.name = ? AND s.name = ?`

func scanScriptRow(row sqlite.Row) (*scriptRow, error) {
	var r scriptRow
	var tags []byte
	if err := row.Scan(&r.key, &r.namespace, &r.name, &r.tag, &tags, &r.lastNumber, &r.active); err != nil {
		return nil, err
	}
	return &r, json.Unmarshal(tags, &r.tags)
}

func findScript(ctx context.Context, s sqlite.Session, ref atoll.ScriptRef) (*scriptRow, error) {
	r, err := sqlite.One(ctx, s, scanScriptRow, findScriptQuery, ref.Account, ref.Namespace, ref.Name)
	if sqlite.Missing(err) {
		err = noScript(ctx, s, ref)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// noScript says what of ref is missing: the script, or its namespace already.
func noScript(ctx context.Context, s sqlite.Session, ref atoll.ScriptRef) error {
	if ref.Namespace != "" {
		if _, err := namespaceKey(ctx, s, ref.Account, ref.Namespace); err != nil {
			return err
		}
	}
	return ref.NotFound()
}

// createScript makes an empty script.
func createScript(ctx context.Context, tx sqlite.Session, ref atoll.ScriptRef) (*scriptRow, error) {
	r := &scriptRow{name: ref.Name, tag: atoll.NewID()}
	var err error
	if r.namespace, err = namespaceKey(ctx, tx, ref.Account, ref.Namespace); err != nil {
		return nil, err
	}
	_, err = sqlite.Run(ctx, tx, "INSERT INTO scripts (namespace, name, tag, created, modified) VALUES (?1, ?2, ?3, ?4, ?4)",
		r.namespace, ref.Name, r.tag, micros(now()))
	if err != nil {
		return nil, err
	}
	r.key, err = sqlite.One(ctx, tx, sqlite.Value[int64], "SELECT last_insert_rowid()")
	return r, err
}

// update makes a change, versions apart.
func (r *scriptRow) update(ctx context.Context, tx sqlite.Session, c ScriptChange) error {
	if c.Tags != nil {
		tags, err := atoll.ParseTags(*c.Tags)
		if err != nil {
			return err
		}
		if err := r.putTags(ctx, tx, tags); err != nil {
			return err
		}
	}
	setObservability, observability := jsonChange(c.Observability)
	setTail, tail := jsonChange(c.TailConsumers)
	_, err := sqlite.Run(ctx, tx, `UPDATE scripts SET logpush = coalesce(?, logpush), migration_tag = coalesce(?, migration_tag),
		observability = iif(?, ?, observability), tail_consumers = iif(?, ?, tail_consumers), modified = ? WHERE key = ?`,
		c.Logpush, c.MigrationTag, setObservability, observability, setTail, tail, micros(now()), r.key)
	return err
}

// jsonChange returns a change of a column of JSON: whether there is one, and the new value, nil for NULL.
func jsonChange(m *json.RawMessage) (set bool, text any) {
	if m == nil {
		return false, nil
	}
	return true, jsonText(*m)
}

func jsonText(m json.RawMessage) any {
	if m == nil {
		return nil
	}
	return string(m)
}

// scriptColumns are the columns of a script with its active version and its namespace's settings, for scanScript.
const scriptColumns = `s.name, s.tag, s.tags, s.logpush, s.observability, s.tail_consumers, s.migration_tag, s.last_deployed_from,
	s.created, s.modified, (SELECT n.settings FROM namespaces n WHERE n.key = s.namespace), ` + classesColumn + `, s.outbound,
	v.id, v.number, v.created, v.source, v.doc, v.secrets
	FROM scripts s LEFT JOIN versions v ON v.script = s.key AND v.number = s.active`

// sealedScript is a script whose version's secrets are not opened yet.
type sealedScript struct {
	*atoll.Script
	secrets []byte
}

func scanScript(row sqlite.Row) (s sealedScript, err error) {
	s.Script = &atoll.Script{}
	var tags, observability, tail, settings, classes, outbound []byte
	var created, modified int64
	var v versionRow
	err = row.Scan(&s.Ref.Name, &s.Tag, &tags, &s.Logpush, &observability, &tail, &s.MigrationTag, &s.LastDeployedFrom,
		&created, &modified, &settings, &classes, &outbound, &v.id, &v.number, &v.created, &v.source, &v.doc, &v.secrets)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(tags, &s.Tags); err != nil {
		return s, err
	}
	if s.Settings, err = parseSettings(settings); err != nil {
		return s, err
	}
	if s.Classes, err = parseClasses(classes); err != nil {
		return s, err
	}
	s.Observability, s.TailConsumers, s.Outbound = observability, tail, outbound
	s.Created, s.Modified = fromMicros(created), fromMicros(modified)
	if v.id.Valid {
		s.secrets = v.secrets
		s.Active = atoll.VersionID(v.id.String)
		s.Version, err = v.version()
	}
	return s, err
}

const scriptQuery = "SELECT " + scriptColumns + " WHERE s.namespace = (SELECT key FROM namespaces WHERE account = ? AND name = ?) AND s.name = ?"

func (db *DB) loadScript(ctx context.Context, s sqlite.Session, ref atoll.ScriptRef) (*atoll.Script, error) {
	script, err := sqlite.One(ctx, s, scanScript, scriptQuery, ref.Account, ref.Namespace, ref.Name)
	if sqlite.Missing(err) {
		err = noScript(ctx, s, ref)
	}
	if err != nil {
		return nil, err
	}
	script.Ref = ref
	if script.Version == nil {
		return script.Script, nil
	}
	return script.Script, db.unseal(script.Tag, script.Version, script.secrets)
}

// Script returns the script with its active version, secrets opened. Version is nil where none is deployed yet. A missing
// script is ref.NotFound, a missing namespace NotFound, 100119.
func (db *DB) Script(ctx context.Context, ref atoll.ScriptRef) (*atoll.Script, error) {
	s, err := db.loadScript(ctx, db.reads, ref)
	if err != nil {
		return nil, fmt.Errorf("get script %s: %w", ref, err)
	}
	return s, nil
}

// UpdateScript changes a script without making a version.
func (db *DB) UpdateScript(ctx context.Context, ref atoll.ScriptRef, c ScriptChange) (s *atoll.Script, err error) {
	err = db.write(ctx, func(ctx context.Context, tx sqlite.Session) error {
		row, err := findScript(ctx, tx, ref)
		if err != nil {
			return err
		}
		if err := row.update(ctx, tx, c); err != nil {
			return err
		}
		s, err = db.loadScript(ctx, tx, ref)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("update script %s: %w", ref, err)
	}
	return s, nil
}

// DeleteScript removes a script with its versions, deployments, tags, routes and schedules.
func (db *DB) DeleteScript(ctx context.Context, ref atoll.ScriptRef) error {
	err := db.write(ctx, func(ctx context.Context, tx sqlite.Session) error {
		row, err := findScript(ctx, tx, ref)
		if err != nil {
			return err
		}
		_, err = sqlite.Run(ctx, tx, "DELETE FROM scripts WHERE key = ?", row.key)
		return err
	})
	if err != nil {
		return fmt.Errorf("delete script %s: %w", ref, err)
	}
	return nil
}

// ScriptSubdomain says whether the script answers on its workers.dev name and on previews' names.
func (db *DB) ScriptSubdomain(ctx context.Context, ref atoll.ScriptRef) (enabled, previews bool, err error) {
	row, err := findScript(ctx, db.reads, ref)
	if err == nil {
		var both int
		both, err = sqlite.One(ctx, db.reads, sqlite.Value[int], "SELECT subdomain + 2 * previews FROM scripts WHERE key = ?", row.key)
		enabled, previews = both&1 != 0, both&2 != 0
	}
	if sqlite.Missing(err) { // deleted between the two queries
		err = ref.NotFound()
	}
	if err != nil {
		return false, false, fmt.Errorf("get subdomain of %s: %w", ref, err)
	}
	return enabled, previews, nil
}

// SetScriptSubdomain sets what ScriptSubdomain returns.
func (db *DB) SetScriptSubdomain(ctx context.Context, ref atoll.ScriptRef, enabled, previews bool) error {
	err := db.write(ctx, func(ctx context.Context, tx sqlite.Session) error {
		row, err := findScript(ctx, tx, ref)
		if err != nil {
			return err
		}
		_, err = sqlite.Run(ctx, tx, "UPDATE scripts SET subdomain = ?, previews = ?, modified = ? WHERE key = ?", enabled, previews, micros(now()), row.key)
		return err
	})
	if err != nil {
		return fmt.Errorf("set subdomain of %s: %w", ref, err)
	}
	return nil
}

// refuseEmpty keeps a forgotten filter from deleting everything.
func refuseEmpty(filter []TagTerm) error {
	if len(filter) == 0 {
		return fault.New(fault.Invalid, 10021, "a bulk deletion needs a tag filter: ?tags=tag:yes")
	}
	return nil
}
