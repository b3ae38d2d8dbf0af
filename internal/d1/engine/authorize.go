package engine

import (
	"strconv"
	"strings"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// authorize is SQLite's authorizer callback, https://sqlite.org/c3ref/set_authorizer.html. It runs while a statement is
// prepared, for everything the statement would do.
func authorize(_ *libc.TLS, handle uintptr, action int32, a, b, schema, _ uintptr) int32 {
	v, ok := conns.Load(handle)
	if !ok {
		return sqlite3.SQLITE_DENY
	}
	c := v.(*Conn)
	if !c.restricted || c.allows(action, text(a), text(b), text(schema)) {
		return sqlite3.SQLITE_OK
	}
	return sqlite3.SQLITE_DENY
}

// arg is an argument of the authorizer, which may be absent.
type arg struct {
	string
	ok bool
}

func text(p uintptr) arg { return arg{goString(p), p != 0} }

// allows decides as Cloudflare's engine does.
func (c *Conn) allows(action int32, a, b, schema arg) bool {
	if action == sqlite3.SQLITE_ALTER_TABLE { // the schema comes first here, and nowhere else
		a, b, schema = b, arg{}, a
	}
	if schema.ok && schema.string == "temp" {
		return (action == sqlite3.SQLITE_READ || action == sqlite3.SQLITE_UPDATE) && free(a)
	}
	if schema.ok && schema.string != "main" {
		return false
	}
	switch action {
	case sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE, sqlite3.SQLITE_ANALYZE:
		return true
	case sqlite3.SQLITE_READ:
		return free(a) && !internals[strings.ToLower(a.string)]
	case sqlite3.SQLITE_CREATE_TABLE, sqlite3.SQLITE_DROP_TABLE, sqlite3.SQLITE_ALTER_TABLE, sqlite3.SQLITE_CREATE_VIEW,
		sqlite3.SQLITE_DROP_VIEW, sqlite3.SQLITE_REINDEX, sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE,
		sqlite3.SQLITE_DELETE:
		return free(a)
	case sqlite3.SQLITE_CREATE_INDEX, sqlite3.SQLITE_DROP_INDEX, sqlite3.SQLITE_CREATE_TRIGGER, sqlite3.SQLITE_DROP_TRIGGER:
		return free(a) && free(b)
	case sqlite3.SQLITE_CREATE_VTABLE, sqlite3.SQLITE_DROP_VTABLE:
		return modules[strings.ToLower(b.string)] && free(a)
	case sqlite3.SQLITE_FUNCTION:
		return functions[strings.ToLower(b.string)]
	case sqlite3.SQLITE_PRAGMA:
		return c.allowsPragma(strings.ToLower(a.string), b)
	case sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_SAVEPOINT:
		c.denied = ErrTransaction
		return false
	}
	return false // ATTACH, DETACH, everything temporary, and what SQLite may learn one day
}

// ErrTransaction is the error of BEGIN, COMMIT, ROLLBACK and SAVEPOINT.
var ErrTransaction = sentence("BEGIN, COMMIT, ROLLBACK and SAVEPOINT are not available: each call of the database is a transaction, " +
	"and batch() makes one of several statements.")

// free refuses names that are the node's own. https://developers.cloudflare.com/d1/sql-api/sql-statements/
func free(name arg) bool {
	return name.ok && (len(name.string) < 4 || !strings.EqualFold(name.string[:4], "_cf_"))
}

// internals are tables that exist without being made, and show the file as bytes.
var internals = map[string]bool{"sqlite_dbpage": true, "dbstat": true, "sqlite_stmt": true, "bytecode": true, "tables_used": true}

// modules are the virtual tables that may be made.
var modules = map[string]bool{"fts5": true, "fts5vocab": true, "rtree": true, "rtree_i32": true}

// signature says what a pragma may be given.
type signature int

const (
	noArg signature = iota
	toggle
	object
	maybeObject
	maybeNumber
	maybeNumberOrObject
)

// pragmas are those of https://developers.cloudflare.com/d1/sql-api/sql-statements/#compatible-pragma-statements, and what
// FTS5 and R*Tree ask for themselves.
var pragmas = map[string]signature{
	"data_version": noArg, "page_size": noArg, "table_list": maybeObject, "table_info": object, "table_xinfo": object,
	"case_sensitive_like": toggle, "foreign_keys": toggle, "defer_foreign_keys": toggle, "ignore_check_constraints": toggle,
	"legacy_alter_table": toggle, "recursive_triggers": toggle, "reverse_unordered_selects": toggle,
	"foreign_key_check": maybeObject, "foreign_key_list": object, "index_info": object, "index_list": object, "index_xinfo": object,
	"quick_check": maybeNumberOrObject, "optimize": maybeNumber,
}

func (c *Conn) allowsPragma(name string, value arg) bool {
	sig, ok := pragmas[name]
	if !ok {
		return false
	}
	switch sig {
	case noArg:
		return !value.ok
	case toggle:
		c.pragmas = c.pragmas || value.ok
		return !value.ok || boolean(value.string)
	case object:
		return free(value)
	case maybeObject:
		return !value.ok || free(value)
	case maybeNumber:
		return !value.ok || number(value.string)
	}
	return !value.ok || number(value.string) || free(value)
}

func number(s string) bool {
	_, err := strconv.ParseInt(s, 0, 32)
	return err == nil
}

func boolean(s string) bool {
	switch strings.ToLower(strings.Trim(s, `'"`)) {
	case "true", "false", "yes", "no", "on", "off", "1", "0":
		return true
	}
	return false
}

// resetPragmas puts the toggles back, so that none outlives the call that set it.
const resetPragmas = `PRAGMA case_sensitive_like = 0; PRAGMA foreign_keys = 1; PRAGMA defer_foreign_keys = 0; PRAGMA ignore_check_constraints = 0;
	PRAGMA legacy_alter_table = 0; PRAGMA recursive_triggers = 0; PRAGMA reverse_unordered_selects = 0`

// ResetPragmas undoes what statements have set. No transaction may be open.
func (c *Conn) ResetPragmas() error { return c.Exec(resetPragmas) }

// functions are the ones SQL may call: those that depend on their arguments and the database alone, and tell nothing of
// the library. load_extension passes here and is refused by SQLite itself, as on Cloudflare.
var functions = set(
	// https://sqlite.org/lang_corefunc.html
	`abs changes char coalesce concat concat_ws format glob hex if ifnull iif instr last_insert_rowid length like likelihood likely
	load_extension lower ltrim max min nullif octet_length printf quote random randomblob replace round rtrim sign soundex
	substr substring total_changes trim typeof unhex unicode unistr unistr_quote unlikely upper zeroblob`,
	// https://sqlite.org/lang_datefunc.html
	`date time datetime julianday unixepoch strftime timediff current_date current_time current_timestamp`,
	// https://sqlite.org/lang_aggfunc.html and https://sqlite.org/windowfunctions.html
	`avg count group_concat string_agg sum total row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value
	last_value nth_value`,
	// https://sqlite.org/lang_mathfunc.html
	`acos acosh asin asinh atan atan2 atanh ceil ceiling cos cosh degrees exp floor ln log log10 log2 mod pi pow power radians
	sin sinh sqrt tan tanh trunc`,
	// https://sqlite.org/json1.html
	`json jsonb json_array jsonb_array json_array_length json_error_position json_extract jsonb_extract -> ->> json_insert
	jsonb_insert json_array_insert jsonb_array_insert json_object jsonb_object json_patch jsonb_patch json_pretty json_remove
	jsonb_remove json_replace jsonb_replace json_set jsonb_set json_type json_valid json_quote json_group_array
	jsonb_group_array json_group_object jsonb_group_object json_each json_tree jsonb_each jsonb_tree`,
	// https://sqlite.org/fts5.html and https://sqlite.org/rtree.html
	`match highlight bm25 snippet rtreecheck`,
	// What ALTER TABLE calls itself, https://sqlite.org/src/file/src/alter.c
	`sqlite_rename_column sqlite_rename_table sqlite_rename_test sqlite_drop_column sqlite_rename_quotefix`,
)

func set(lists ...string) map[string]bool {
	m := map[string]bool{}
	for _, l := range lists {
		for _, name := range strings.Fields(l) {
			m[name] = true
		}
	}
	return m
}
