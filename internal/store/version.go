package store

import (
	"context"
	"encoding/json"
	"iter"
	"time"

	"atoll.dev/atoll/internal/atoll"
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

// PutVersion stores a new version, makes the script where it is missing, and deploys the version where c says so: all in
// one transaction. It sets v's Number, and its ID, Created and Source where they are empty. The script it returns has its
// active version loaded.
func (db *DB) PutVersion(ctx context.Context, ref atoll.ScriptRef, v *atoll.Version, c ScriptChange) (*atoll.Script, error) {
	return nil, errTodo
}

// Deploy makes a stored version the active one and records the deployment.
func (db *DB) Deploy(ctx context.Context, ref atoll.ScriptRef, id atoll.VersionID, source string, annotations map[string]string) (Deployment, error) {
	return Deployment{}, errTodo
}

// Deployments lists the script's deployments, newest first.
func (db *DB) Deployments(ctx context.Context, ref atoll.ScriptRef) ([]Deployment, error) {
	return nil, errTodo
}

// Versions lists the script's versions without the values of their secrets, newest first, and says how many are kept.
func (db *DB) Versions(ctx context.Context, ref atoll.ScriptRef, limit, offset int) ([]*atoll.Version, int, error) {
	return nil, 0, errTodo
}

// Version returns one version with its secrets opened.
func (db *DB) Version(ctx context.Context, ref atoll.ScriptRef, id atoll.VersionID) (*atoll.Version, error) {
	return nil, errTodo
}

// Validated reports whether a version with this key was started before, and what MarkValidated kept of it.
func (db *DB) Validated(ctx context.Context, key string) (ok bool, started json.RawMessage, err error) {
	return false, nil, errTodo
}

// MarkValidated keeps what starting a version with this key has shown.
func (db *DB) MarkValidated(ctx context.Context, key string, started json.RawMessage) error {
	return errTodo
}

// CollectBlobs calls remove for each hash that no version refers to, nor has since the given time.
func (db *DB) CollectBlobs(ctx context.Context, hashes iter.Seq2[string, error], since time.Time, remove func(hash string) error) (n int, err error) {
	return 0, errTodo
}
