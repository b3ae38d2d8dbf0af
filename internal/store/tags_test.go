package store

import (
	"strings"
	"testing"

	"atoll.dev/atoll/internal/fault"
)

func TestParseTagFilter(t *testing.T) {
	for s, want := range map[string][]TagTerm{
		"":                          nil,
		"production:yes":            {{"production", true}},
		"production:yes,staging:no": {{"production", true}, {"staging", false}},
		"site:123:yes":              {{"site:123", true}},
		"hello=there:no":            {{"hello=there", false}},
		"yes:no":                    {{"yes", false}},
		"::yes":                     {{":", true}},
		" a b :yes":                 {{" a b ", true}},
		"é:yes":                     {{"é", true}},
	} {
		got, err := ParseTagFilter(s)
		ok(t, err)
		equal(t, got, want)
	}
	for _, s := range []string{"a", "a:", "a:maybe", "a:YES", "a:yes ", ":yes", ",", "a:yes,", ",a:yes", "a:yes,,b:no", "a&b:yes", "a\x00:yes", "\xff:yes",
		strings.Repeat("x", 256) + ":yes"} {
		_, err := ParseTagFilter(s)
		refused(t, err, fault.Invalid, 10021)
	}
}

func FuzzParseTagFilter(f *testing.F) {
	for _, s := range []string{"", "a:yes,b:no", "site:1:yes", "a", ":yes", "a:yes,", "' OR 1:no"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		terms, err := ParseTagFilter(s)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		var again []string
		for _, term := range terms {
			again = append(again, term.Tag+map[bool]string{true: ":yes", false: ":no"}[term.Want])
			if term.Tag == "" || strings.ContainsAny(term.Tag, ",&") {
				t.Errorf("%q has the tag %q", s, term.Tag)
			}
		}
		if got := strings.Join(again, ","); got != s {
			t.Errorf("%q was read as %q", s, got)
		}
		q, err := newTagQuery(terms)
		if err != nil {
			return
		}
		query, args := q.scripts(scriptColumns, 1, "", 1)
		for _, term := range terms {
			if len(term.Tag) > 24 && strings.Contains(query, term.Tag) {
				t.Errorf("the tag %q is in the text of the query", term.Tag)
			}
		}
		if want := 3 + len(q.want) + len(q.refuse); len(args) != want {
			t.Errorf("%d arguments, want %d", len(args), want)
		}
	})
}

func FuzzCursor(f *testing.F) {
	f.Add(cursor("a-script"))
	f.Add("MQ")
	f.Fuzz(func(t *testing.T, s string) {
		after, err := parseCursor(s)
		if err == nil && s != "" && after == "" {
			t.Errorf("cursor %q starts again at the first page", s)
		}
		if err != nil && fault.KindOf(err) != fault.Invalid {
			t.Errorf("cursor %q: %v", s, err)
		}
	})
}

func TestTags(t *testing.T) {
	db := filled(t)
	ctx := t.Context()
	put(t, db, user("a"), "one", "two")
	check := func(want ...string) {
		t.Helper()
		tags, err := db.Tags(ctx, user("a"))
		ok(t, err)
		if strings.Join(tags, " ") != strings.Join(want, " ") {
			t.Errorf("tags %q, want %q", tags, want)
		}
		rows(t, db, map[string]int{"script_tags": len(want)})
		s, err := db.Script(ctx, user("a"))
		ok(t, err)
		equal(t, s.Tags, tags)
	}
	check("one", "two")
	put(t, db, user("a"))
	check("one", "two") // an upload that says nothing of tags keeps them
	tags, err := db.SetTags(ctx, user("a"), []string{"z", "y", "z"})
	ok(t, err)
	equal(t, tags, []string{"z", "y"})
	check("z", "y")
	tags, err = db.AddTag(ctx, user("a"), "x")
	ok(t, err)
	equal(t, tags, []string{"z", "y", "x"})
	_, err = db.AddTag(ctx, user("a"), "z")
	ok(t, err)
	check("z", "y", "x")
	ok(t, db.RemoveTag(ctx, user("a"), "y"))
	ok(t, db.RemoveTag(ctx, user("a"), "y"))
	check("z", "x")

	_, err = db.SetTags(ctx, user("a"), []string{"1", "2", "3", "4", "5", "6", "7", "8", "9"})
	refused(t, err, fault.Invalid, 10021)
	_, err = db.AddTag(ctx, user("a"), "a&b")
	refused(t, err, fault.Invalid, 10021)
	check("z", "x")
	_, err = db.SetTags(ctx, user("a"), []string{"1", "2", "3", "4", "5", "6", "7", "8"})
	ok(t, err)
	_, err = db.AddTag(ctx, user("a"), "9")
	refused(t, err, fault.Invalid, 10021)
	_, err = db.SetTags(ctx, user("a"), nil)
	ok(t, err)
	check()
}
