package store

import (
	"context"
	"encoding/json"
	"time"

	"atoll.dev/atoll/internal/atoll"
)

// ScriptFilter selects and pages Scripts.
type ScriptFilter struct {
	Tags   []TagTerm
	Cursor string // as an earlier call returned it; empty for the first page
	Limit  int    // at most and by default 1000
}

// ScriptChange is what a call changes of the script as a whole, apart from its versions; nil leaves a field as it is.
type ScriptChange struct {
	Deploy                bool   // make the new version the active one (PutVersion)
	Source                string // "api", "wrangler" or "dash"
	Tags                  *[]string
	Logpush               *bool
	Observability         *json.RawMessage // pointing to nil clears it
	TailConsumers         *json.RawMessage
	MigrationTag          *string
	DeploymentAnnotations map[string]string
}

// Script returns the script with its active version, secrets opened. Version is nil where none is deployed yet.
func (db *DB) Script(ctx context.Context, ref atoll.ScriptRef) (*atoll.Script, error) {
	return nil, errTodo
}

// Scripts lists scripts by name, those of the account itself where ns is empty. Their versions are loaded without the
// values of secrets. next is the cursor of the following page, empty at the end.
func (db *DB) Scripts(ctx context.Context, acct atoll.AccountID, ns atoll.NamespaceName, f ScriptFilter) (list []*atoll.Script, next string, err error) {
	return nil, "", errTodo
}

// UpdateScript changes a script without making a version.
func (db *DB) UpdateScript(ctx context.Context, ref atoll.ScriptRef, c ScriptChange) (*atoll.Script, error) {
	return nil, errTodo
}

// DeleteScript removes a script with its versions, deployments, tags, routes and schedules.
func (db *DB) DeleteScript(ctx context.Context, ref atoll.ScriptRef) error { return errTodo }

// DeleteScripts removes the first scripts that match the filter, at most limit (at most and by default 1000), and says
// whether there are more. An empty filter is refused.
func (db *DB) DeleteScripts(ctx context.Context, acct atoll.AccountID, ns atoll.NamespaceName, filter []TagTerm, limit int) (deleted []atoll.ScriptName, more bool, err error) {
	return nil, false, errTodo
}

// Tags returns the script's tags in the order they were given.
func (db *DB) Tags(ctx context.Context, ref atoll.ScriptRef) ([]string, error) { return nil, errTodo }

// SetTags replaces the script's tags and returns them without duplicates.
func (db *DB) SetTags(ctx context.Context, ref atoll.ScriptRef, tags []string) ([]string, error) {
	return nil, errTodo
}

// AddTag adds one tag and returns all of them; one that is there already is no error.
func (db *DB) AddTag(ctx context.Context, ref atoll.ScriptRef, tag string) ([]string, error) {
	return nil, errTodo
}

// RemoveTag takes one tag away; one that is not there is no error.
func (db *DB) RemoveTag(ctx context.Context, ref atoll.ScriptRef, tag string) error { return errTodo }

// ScriptSubdomain says whether the script answers on its workers.dev name and on previews' names.
func (db *DB) ScriptSubdomain(ctx context.Context, ref atoll.ScriptRef) (enabled, previews bool, err error) {
	return false, false, errTodo
}

// SetScriptSubdomain sets what ScriptSubdomain returns.
func (db *DB) SetScriptSubdomain(ctx context.Context, ref atoll.ScriptRef, enabled, previews bool) error {
	return errTodo
}

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

// Schedules returns the script's cron triggers in the order they were set.
func (db *DB) Schedules(ctx context.Context, ref atoll.ScriptRef) ([]Schedule, error) {
	return nil, errTodo
}

// SetSchedules replaces the script's cron triggers.
func (db *DB) SetSchedules(ctx context.Context, ref atoll.ScriptRef, crons []string) ([]Schedule, error) {
	return nil, errTodo
}

// AllSchedules returns every cron trigger of the node.
func (db *DB) AllSchedules(ctx context.Context) ([]ScriptSchedule, error) { return nil, errTodo }
