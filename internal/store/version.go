package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/sqlite"
)

// keepVersions is how many versions of a script are kept, and as many deployments; the active version always is.
const keepVersions = 100

// versionDoc is the stored form of a version: atoll.Version field by field, which the conversion between the two checks.
// Fields that are columns of their own have no place in the document.
type versionDoc struct {
	ID                 atoll.VersionID            `json:"-"`
	Number             int                        `json:"-"`
	Created            time.Time                  `json:"-"`
	Source             string                     `json:"-"`
	Annotations        map[string]string          `json:"annotations,omitempty"`
	MainModule         string                     `json:"main_module,omitempty"`
	BodyPart           string                     `json:"body_part,omitempty"`
	Modules            []atoll.Module             `json:"modules,omitempty"`
	CompatibilityDate  string                     `json:"compatibility_date,omitempty"`
	CompatibilityFlags []string                   `json:"compatibility_flags,omitempty"`
	Bindings           []atoll.Binding            `json:"-"` // in versionText
	Limits             atoll.Limits               `json:"limits"`
	Placement          json.RawMessage            `json:"placement,omitempty"`
	UsageModel         string                     `json:"usage_model,omitempty"`
	Migrations         json.RawMessage            `json:"migrations,omitempty"`
	Extra              map[string]json.RawMessage `json:"extra,omitempty"`
	Etag               string                     `json:"etag,omitempty"`
	Handlers           []string                   `json:"handlers,omitempty"`
	NamedHandlers      []atoll.NamedHandlers      `json:"named_handlers,omitempty"`
	StartupMs          int64                      `json:"startup_ms,omitempty"`
	Trusted            bool                       `json:"trusted,omitempty"`
	Assets             *atoll.Assets              `json:"assets,omitempty"`
	Classes            []atoll.Class              `json:"classes,omitempty"`
}

// bindingDoc is the stored form of a binding. The secret goes sealed into a column of its own.
type bindingDoc struct {
	Name   string          `json:"name"`
	Type   string          `json:"type"`
	Fields json.RawMessage `json:"fields,omitempty"`
	Secret []byte          `json:"-"`
}

type versionText struct {
	versionDoc
	Bindings []bindingDoc `json:"bindings,omitempty"`
}

func encodeVersion(v *atoll.Version) (string, error) {
	t := versionText{versionDoc: versionDoc(*v)}
	for _, b := range v.Bindings {
		t.Bindings = append(t.Bindings, bindingDoc(b))
	}
	b, err := json.Marshal(t)
	return string(b), err
}

// versionRow is a row of versions, or of NULLs where a join found none.
type versionRow struct {
	id, source      sql.NullString
	number, created sql.NullInt64
	doc, secrets    []byte
}

// version returns the version without its secrets.
func (r *versionRow) version() (*atoll.Version, error) {
	var t versionText
	if err := json.Unmarshal(r.doc, &t); err != nil {
		return nil, fmt.Errorf("read version %s: %w", r.id.String, err)
	}
	v := atoll.Version(t.versionDoc)
	v.ID, v.Number, v.Created, v.Source = atoll.VersionID(r.id.String), int(r.number.Int64), fromMicros(r.created.Int64), r.source.String
	for _, b := range t.Bindings {
		v.Bindings = append(v.Bindings, atoll.Binding(b))
	}
	return &v, nil
}

// sealedVersion is a version whose secrets are not opened yet.
type sealedVersion struct {
	*atoll.Version
	secrets []byte
}

const versionColumns = "SELECT id, number, created, source, doc, secrets FROM versions "

func scanVersion(row sqlite.Row) (v sealedVersion, err error) {
	var r versionRow
	if err := row.Scan(&r.id, &r.number, &r.created, &r.source, &r.doc, &r.secrets); err != nil {
		return v, err
	}
	v.secrets = r.secrets
	v.Version, err = r.version()
	return v, err
}

func noVersion() error { return fault.New(fault.NotFound, 10007, "This version does not exist.") }

// PutVersion stores a new version, makes the script where it is missing, and deploys the version where c says so: all in
// one transaction. It sets v's Number, and its ID, Created and Source where they are empty. The script it returns has its
// active version loaded. An ID that the script has already is Conflict.
func (db *DB) PutVersion(ctx context.Context, ref atoll.ScriptRef, v *atoll.Version, c ScriptChange) (s *atoll.Script, err error) {
	next := *v
	if next.ID == "" {
		next.ID = atoll.VersionID(atoll.NewUUID())
	}
	if next.Created.IsZero() {
		next.Created = now()
	}
	if next.Source == "" {
		next.Source = c.Source
	}
	doc, err := encodeVersion(&next)
	if err != nil {
		return nil, fmt.Errorf("put version of %s: %w", ref, err)
	}
	err = db.write(ctx, func(ctx context.Context, tx sqlite.Session) error {
		row, err := findScript(ctx, tx, ref)
		if fault.KindOf(err) == fault.NotFound {
			row, err = createScript(ctx, tx, ref)
		}
		if err != nil {
			return err
		}
		if err := db.addVersion(ctx, tx, row, &next, doc); err != nil {
			return err
		}
		if err := row.putAssets(ctx, tx, &next, c.AssetFiles); err != nil {
			return err
		}
		if err := row.update(ctx, tx, c); err != nil {
			return err
		}
		if err := row.takeClasses(ctx, tx, ref, c.Transfers); err != nil {
			return err
		}
		if err := row.putClasses(ctx, tx, c.Classes); err != nil {
			return err
		}
		if c.Deploy {
			if _, err := row.deploy(ctx, tx, &next, c.Source, c.DeploymentAnnotations); err != nil {
				return err
			}
		}
		if err := row.prune(ctx, tx); err != nil {
			return err
		}
		s, err = db.loadScript(ctx, tx, ref)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("put version of %s: %w", ref, err)
	}
	*v = next
	return s, nil
}

func (db *DB) addVersion(ctx context.Context, tx sqlite.Session, row *scriptRow, v *atoll.Version, doc string) error {
	if _, err := sqlite.One(ctx, tx, sqlite.Value[int], versionNumberQuery, row.key, v.ID); !sqlite.Missing(err) {
		if err == nil {
			err = fault.Newf(fault.Conflict, 10035, "There is a version %s of this Worker already.", v.ID)
		}
		return err
	}
	secrets, err := db.seal(row.tag, v)
	if err != nil {
		return err
	}
	row.lastNumber++
	v.Number = row.lastNumber
	_, err = sqlite.Run(ctx, tx, "INSERT INTO versions (script, number, id, created, source, doc, secrets) VALUES (?, ?, ?, ?, ?, ?, ?)",
		row.key, v.Number, v.ID, micros(v.Created), v.Source, doc, secrets)
	if err != nil {
		return err
	}
	key, err := sqlite.One(ctx, tx, sqlite.Value[int64], "SELECT last_insert_rowid()")
	if err != nil {
		return err
	}
	needs := v.Modules
	if v.Assets != nil {
		needs = append(slices.Clone(needs), atoll.Module{Name: "list of assets", Hash: v.Assets.Manifest})
	}
	for _, m := range needs {
		hash, err := hex.DecodeString(m.Hash)
		if err != nil {
			return fmt.Errorf("module %s: hash %q is not hex", m.Name, m.Hash)
		}
		if _, err := sqlite.Run(ctx, tx, "INSERT OR IGNORE INTO version_blobs (version, hash) VALUES (?, ?)", key, hash); err != nil {
			return err
		}
	}
	if err := addQueues(ctx, tx, key, v.Bindings); err != nil {
		return err
	}
	_, err = sqlite.Run(ctx, tx, "UPDATE scripts SET last_number = ? WHERE key = ?", v.Number, row.key)
	return err
}

const versionNumberQuery = "SELECT number FROM versions WHERE script = ? AND id = ?"

// prune removes the versions and deployments that are too many.
func (r *scriptRow) prune(ctx context.Context, tx sqlite.Session) error {
	if r.lastNumber <= keepVersions {
		return nil
	}
	_, err := sqlite.Run(ctx, tx, "DELETE FROM versions WHERE script = ? AND number <= ? AND number <> ?", r.key, r.lastNumber-keepVersions, r.active)
	if err != nil {
		return err
	}
	return r.pruneAssets(ctx, tx, r.lastNumber-keepVersions)
}

// Versions lists the script's versions without the values of their secrets, newest first, and says how many are kept. A
// limit of 0 is none.
func (db *DB) Versions(ctx context.Context, ref atoll.ScriptRef, limit, offset int) (list []*atoll.Version, total int, err error) {
	list, total, err = versions(ctx, db.reads, ref, limit, offset)
	if err != nil {
		return nil, 0, fmt.Errorf("list versions of %s: %w", ref, err)
	}
	return list, total, nil
}

func versions(ctx context.Context, s sqlite.Session, ref atoll.ScriptRef, limit, offset int) ([]*atoll.Version, int, error) {
	row, err := findScript(ctx, s, ref)
	if err != nil {
		return nil, 0, err
	}
	total, err := sqlite.One(ctx, s, sqlite.Value[int], "SELECT count(*) FROM versions WHERE script = ?", row.key) // at most keepVersions+1
	if err != nil {
		return nil, 0, err
	}
	if limit <= 0 {
		limit = -1
	}
	found, err := sqlite.All(ctx, s, scanVersion, versionColumns+"WHERE script = ? ORDER BY number DESC LIMIT ? OFFSET ?", row.key, limit, max(0, offset))
	if err != nil {
		return nil, 0, err
	}
	list := make([]*atoll.Version, len(found))
	for i, v := range found {
		list[i] = v.Version
	}
	return list, total, nil
}

// Version returns one version with its secrets opened; a missing one is NotFound, 10007.
func (db *DB) Version(ctx context.Context, ref atoll.ScriptRef, id atoll.VersionID) (*atoll.Version, error) {
	row, err := findScript(ctx, db.reads, ref)
	if err != nil {
		return nil, fmt.Errorf("get version of %s: %w", ref, err)
	}
	v, err := sqlite.One(ctx, db.reads, scanVersion, versionColumns+"WHERE script = ? AND id = ?", row.key, id)
	if sqlite.Missing(err) {
		err = noVersion()
	}
	if err == nil {
		err = db.unseal(row.tag, v.Version, v.secrets)
	}
	if err != nil {
		return nil, fmt.Errorf("get version %s of %s: %w", id, ref, err)
	}
	return v.Version, nil
}
