package store

import (
	"fmt"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
)

func TestScriptsPages(t *testing.T) {
	db := filled(t)
	var want []string
	for i := range 7 {
		name := fmt.Sprintf("script-%d", i)
		put(t, db, user(name))
		want = append(want, name)
	}
	put(t, db, platform("script-3-of-the-account"))
	for _, limit := range []int{1, 2, 3, 6, 7, 8, 0, -1, 5000} {
		equal(t, pages(t, db, prod, ScriptFilter{Limit: limit}), want)
	}
	equal(t, pages(t, db, "", ScriptFilter{}), []string{"script-3-of-the-account"})
}

// pages lists all scripts page by page, and checks that pages are full and that lists hold whole scripts.
func pages(t *testing.T, db *DB, ns atoll.NamespaceName, f ScriptFilter) (names []string) {
	t.Helper()
	for {
		list, next, err := db.Scripts(t.Context(), acct, ns, f)
		ok(t, err)
		for _, s := range list {
			names = append(names, string(s.Ref.Name))
			if s.Ref.Account != acct || s.Ref.Namespace != ns || s.Version == nil || s.Version.ID != s.Active {
				t.Errorf("listed %+v", s)
			}
		}
		if next == "" {
			return names
		}
		if len(list) != pageSize(f.Limit) {
			t.Errorf("a page of %d, and more to come", len(list))
		}
		f.Cursor = next
	}
}

func TestScriptsByTags(t *testing.T) {
	db := filled(t)
	put(t, db, user("a"), "free", "eu", "site:1")
	put(t, db, user("b"), "paid", "eu")
	put(t, db, user("c"), "paid", "us")
	put(t, db, user("d"))
	put(t, db, user("e"), "paid", "eu", "50%_*?")
	_, err := db.CreateNamespace(t.Context(), acct, "staging", false, atoll.NamespaceSettings{})
	ok(t, err)
	put(t, db, atoll.ScriptRef{Account: acct, Namespace: "staging", Name: "z"}, "paid", "eu")
	for filter, want := range map[string]string{
		"":                          "a b c d e",
		"paid:yes":                  "b c e",
		"paid:no":                   "a d",
		"paid:yes,eu:yes":           "b e",
		"eu:yes,paid:yes":           "b e",
		"paid:yes,eu:no":            "c",
		"paid:no,eu:no":             "d",
		"eu:yes,us:yes":             "",
		"missing:yes":               "",
		"missing:no":                "a b c d e",
		"paid:yes,paid:yes":         "b c e",
		"paid:yes,paid:no":          "",
		"site:1:yes":                "a",
		"%:yes":                     "",
		"p*:yes":                    "",
		"PAID:yes":                  "",
		"50%_*?:yes":                "e",
		"' OR 1=1 --:yes":           "",
		"') OR EXISTS(SELECT 1:no":  "a b c d e",
		"eu:yes,free:no,50%_*?:yes": "e",
	} {
		terms, err := ParseTagFilter(filter)
		ok(t, err)
		for _, limit := range []int{1, 2, 10} {
			if got := strings.Join(pages(t, db, prod, ScriptFilter{Tags: terms, Limit: limit}), " "); got != want {
				t.Errorf("filter %q selects %q, want %q", filter, got, want)
			}
		}
	}
}

func TestScriptsRefusesBadInput(t *testing.T) {
	db := filled(t)
	for _, cursor := range []string{"x", "!", "MQ", "MQ==", "Mi4uLy4u", cursor("../x"), "MSc"} {
		_, _, err := db.Scripts(t.Context(), acct, prod, ScriptFilter{Cursor: cursor})
		refused(t, err, fault.Invalid, 10021)
	}
	var many []TagTerm
	for i := range maxTerms + 1 {
		many = append(many, TagTerm{fmt.Sprint(i), i%2 == 0})
	}
	_, _, err := db.Scripts(t.Context(), acct, prod, ScriptFilter{Tags: many})
	refused(t, err, fault.Invalid, 10021)
	_, _, err = db.Scripts(t.Context(), acct, prod, ScriptFilter{Tags: many[:maxTerms]})
	ok(t, err)
}

func TestRarestFirst(t *testing.T) {
	db := filled(t)
	for i := range 5 {
		put(t, db, user(fmt.Sprint("s", i)), "common", fmt.Sprint("own-", i))
	}
	q, err := newTagQuery([]TagTerm{{"common", true}, {"own-3", true}, {"own-4", false}})
	ok(t, err)
	key, err := namespaceKey(t.Context(), db.reads, acct, prod)
	ok(t, err)
	ok(t, q.rarestFirst(t.Context(), db.reads, key))
	equal(t, q.want, []string{"own-3", "common"})
}

func TestDeleteScripts(t *testing.T) {
	db := filled(t)
	ctx := t.Context()
	for i := range 5 {
		put(t, db, user(fmt.Sprint("old-", i)), "customer")
	}
	put(t, db, user("kept"), "other")
	filter := []TagTerm{{"customer", true}}
	for _, f := range [][]TagTerm{nil, {}} {
		_, _, err := db.DeleteScripts(ctx, acct, prod, f, 0)
		refused(t, err, fault.Invalid, 10021)
	}
	deleted, more, err := db.DeleteScripts(ctx, acct, prod, filter, 3)
	ok(t, err)
	equal(t, deleted, []atoll.ScriptName{"old-0", "old-1", "old-2"})
	if !more {
		t.Error("there are more, and it says no")
	}
	deleted, more, err = db.DeleteScripts(ctx, acct, prod, filter, 2)
	ok(t, err)
	if len(deleted) != 2 || more {
		t.Errorf("deleted %v, more %v", deleted, more)
	}
	deleted, more, err = db.DeleteScripts(ctx, acct, prod, filter, 0)
	ok(t, err)
	if len(deleted) != 0 || more {
		t.Errorf("deleted %v, more %v", deleted, more)
	}
	_, _, err = db.DeleteScripts(ctx, acct, "missing", filter, 0)
	refused(t, err, fault.NotFound, 100119)
	equal(t, pages(t, db, prod, ScriptFilter{}), []string{"kept"})
	n, err := db.Namespace(ctx, acct, prod)
	ok(t, err)
	equal(t, n.Scripts, int64(1))
}
