package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/sqlite"
)

// TagTerm is one term of a tag filter: the script has the tag, or has it not.
type TagTerm struct {
	Tag  string
	Want bool
}

// ParseTagFilter parses the tags parameter of lists and bulk deletions, "a:yes,b:no": terms joined by commas, each a tag
// and whether a script has to have it. Tags may hold colons, so the last one of a term counts. The empty string is the
// empty filter, which selects every script.
func ParseTagFilter(s string) ([]TagTerm, error) {
	if s == "" {
		return nil, nil
	}
	var terms []TagTerm
	for term := range strings.SplitSeq(s, ",") {
		i := strings.LastIndexByte(term, ':')
		if i < 0 || term[i:] != ":yes" && term[i:] != ":no" {
			return nil, fault.Newf(fault.Invalid, 10021, "tag filter term %q is not of the form tag:yes or tag:no", term)
		}
		if _, err := atoll.ParseTags([]string{term[:i]}); err != nil {
			return nil, fmt.Errorf("parse tag filter: %w", err)
		}
		terms = append(terms, TagTerm{Tag: term[:i], Want: term[i:] == ":yes"})
	}
	return terms, nil
}

// maxTerms bounds the query that a filter becomes.
const maxTerms = 32

// tagQuery is a filter made ready: no term twice, and the rarest tag first.
type tagQuery struct {
	want, refuse []string
	never        bool // the terms contradict each other
}

func newTagQuery(terms []TagTerm) (q tagQuery, err error) {
	for _, t := range terms {
		list, other := &q.want, q.refuse
		if !t.Want {
			list, other = &q.refuse, q.want
		}
		if !slices.Contains(*list, t.Tag) {
			*list = append(*list, t.Tag)
		}
		q.never = q.never || slices.Contains(other, t.Tag)
		if len(q.want)+len(q.refuse) > maxTerms {
			return q, fault.Newf(fault.Invalid, 10021, "a tag filter has at most %d terms", maxTerms)
		}
	}
	return q, nil
}

// rarestFirst puts the tag that the fewest scripts have in front: the query walks those and probes for the other tags.
// Tags that more than rarityLimit scripts have count as equally common.
func (q *tagQuery) rarestFirst(ctx context.Context, s sqlite.Session, namespace int64) error {
	if len(q.want) < 2 {
		return nil
	}
	least := int64(-1)
	for i, tag := range q.want {
		n, err := sqlite.One(ctx, s, sqlite.Value[int64], rarityQuery, namespace, tag, rarityLimit)
		if err != nil {
			return err
		}
		if least < 0 || n < least {
			least = n
			q.want[0], q.want[i] = q.want[i], q.want[0]
		}
	}
	return nil
}

const (
	rarityLimit = 1000
	rarityQuery = "SELECT count(*) FROM (SELECT 1 FROM script_tags WHERE namespace = ? AND tag = ? LIMIT ?)"
)

// scripts returns the query for a page of scripts by name, and its arguments: the namespace, the name to start after, the
// limit, then the tags. Tags are arguments throughout, never text of the query.
func (q tagQuery) scripts(columns string, namespace int64, after string, limit int) (string, []any) {
	args := []any{namespace, after, limit}
	var b strings.Builder
	if len(q.want) == 0 {
		b.WriteString("SELECT " + columns + " WHERE s.namespace = ?1 AND s.name > ?2")
	} else {
		args = append(args, q.want[0])
		// CROSS JOIN keeps SQLite from walking the namespace instead of the tag
		b.WriteString("SELECT " + strings.Replace(columns, "FROM scripts s", "FROM script_tags t CROSS JOIN scripts s ON s.key = t.script", 1))
		b.WriteString(" WHERE t.namespace = ?1 AND t.tag = ?4 AND t.name > ?2")
	}
	probe := func(not, tag string) {
		args = append(args, tag)
		fmt.Fprintf(&b, " AND %sEXISTS (SELECT 1 FROM script_tags x WHERE x.namespace = ?1 AND x.tag = ?%d AND x.name = s.name)", not, len(args))
	}
	for _, tag := range q.want[min(1, len(q.want)):] {
		probe("", tag)
	}
	for _, tag := range q.refuse {
		probe("NOT ", tag)
	}
	if len(q.want) == 0 {
		b.WriteString(" ORDER BY s.name LIMIT ?3")
	} else {
		b.WriteString(" ORDER BY t.name LIMIT ?3")
	}
	return b.String(), args
}

// Tags returns the script's tags in the order they were given.
func (db *DB) Tags(ctx context.Context, ref atoll.ScriptRef) ([]string, error) {
	row, err := findScript(ctx, db.reads, ref)
	if err != nil {
		return nil, fmt.Errorf("get tags of %s: %w", ref, err)
	}
	return row.tags, nil
}

// SetTags replaces the script's tags and returns them without duplicates.
func (db *DB) SetTags(ctx context.Context, ref atoll.ScriptRef, tags []string) ([]string, error) {
	return db.changeTags(ctx, ref, func([]string) []string { return tags })
}

// AddTag adds one tag and returns all of them; one that is there already is no error.
func (db *DB) AddTag(ctx context.Context, ref atoll.ScriptRef, tag string) ([]string, error) {
	return db.changeTags(ctx, ref, func(have []string) []string { return append(have, tag) })
}

// RemoveTag takes one tag away; one that is not there is no error.
func (db *DB) RemoveTag(ctx context.Context, ref atoll.ScriptRef, tag string) error {
	_, err := db.changeTags(ctx, ref, func(have []string) []string {
		return slices.DeleteFunc(have, func(t string) bool { return t == tag })
	})
	return err
}

func (db *DB) changeTags(ctx context.Context, ref atoll.ScriptRef, change func([]string) []string) (tags []string, err error) {
	err = db.write(ctx, func(ctx context.Context, tx sqlite.Session) error {
		row, err := findScript(ctx, tx, ref)
		if err != nil {
			return err
		}
		if tags, err = atoll.ParseTags(change(slices.Clone(row.tags))); err != nil {
			return err
		}
		return row.update(ctx, tx, ScriptChange{Tags: &tags})
	})
	if err != nil {
		return nil, fmt.Errorf("set tags of %s: %w", ref, err)
	}
	return tags, nil
}

// putTags replaces the tags of a script in both places that hold them.
func (r *scriptRow) putTags(ctx context.Context, tx sqlite.Session, tags []string) error {
	if slices.Equal(tags, r.tags) {
		return nil
	}
	if _, err := sqlite.Run(ctx, tx, "DELETE FROM script_tags WHERE script = ?", r.key); err != nil {
		return err
	}
	for _, tag := range tags {
		_, err := sqlite.Run(ctx, tx, "INSERT INTO script_tags (namespace, tag, name, script) VALUES (?, ?, ?, ?)", r.namespace, tag, r.name, r.key)
		if err != nil {
			return err
		}
	}
	list, err := json.Marshal(tags)
	if err != nil {
		return err
	}
	_, err = sqlite.Run(ctx, tx, "UPDATE scripts SET tags = ? WHERE key = ?", string(list), r.key)
	return err
}
