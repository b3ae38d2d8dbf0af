package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/store"
)

func sibling(name string) atoll.ScriptRef {
	return atoll.ScriptRef{Account: acct, Namespace: prod, Name: atoll.ScriptName(name)}
}

// moving is the metadata of a Worker with a migration and a binding to a class, "" for none.
func moving(migrations, class string) string {
	md := `{"main_module":"w.js"`
	if migrations != "" {
		md += `,"migrations":` + migrations
	}
	if class != "" {
		md += `,"bindings":[{"type":"durable_object_namespace","name":"X","class_name":"` + class + `"}]`
	}
	return md + "}"
}

func transferring(moves string) string {
	return `{"new_tag":"t1","transferred_classes":[` + moves + `]}`
}

func TestTransfer(t *testing.T) {
	b := newBench(t, Options{})
	ctx := context.Background()
	from, to := sibling("from"), sibling("to")
	b.deployed(t, from, moving(`{"new_tag":"v1","new_sqlite_classes":["A"],"new_classes":["B","C"]}`, "C"), "w.js", fetch+" +A +B +C")
	first := b.deployed(t, from, moving("", "C"), "w.js", fetch+" +A +B +C") // it will not do after the transfer
	_, had := b.classesOf(t, from)

	const one = `{"from":"A","from_script":"from","to":"Z"}`
	untouched := func(what string) {
		t.Helper()
		if names, ids := b.classesOf(t, from); names != "A* B C " || ids["A"] != had["A"] {
			t.Errorf("after %s: classes %s", what, names)
		}
		if _, err := b.store.Script(ctx, to); fault.KindOf(err) != fault.NotFound {
			t.Errorf("after %s: the script is there: %v", what, err)
		}
	}
	for _, c := range []struct {
		name, migrations, class, code string
		number                        int
		text                          string
	}{
		{"not-exported", transferring(one), "", fetch, 10070, "Cannot apply transfer-class migration to class 'Z' that is not exported by script"},
		{"does-not-start", transferring(one), "Z", "throw: boom", 10021, "boom"},
		{"no-such-script", transferring(`{"from":"A","from_script":"none","to":"Z"}`), "", fetch + " +Z", 10021, "there is no script 'none' beside this one"},
		{"no-such-class", transferring(`{"from":"Q","from_script":"from","to":"Z"}`), "", fetch + " +Z", 10021, "script 'from' has no Durable Objects of that class"},
		{"twice", transferring(one + `,{"from":"A","from_script":"from","to":"Y"}`), "", fetch + " +Z +Y", 10021, "has no Durable Objects of that class"},
		{"bound", transferring(`{"from":"C","from_script":"from","to":"Z"}`), "", fetch + " +Z", 10061, "while its binding 'X' references it"},
		{"name-taken", `{"new_tag":"t1","steps":[{"new_classes":["Z"]},{"transferred_classes":[` + one + `]}]}`, "", fetch + " +Z", 10074, "'Z' that is already depended on"},
		{"own-class", transferring(`{"from":"A","from_script":"to","to":"Z"}`), "", fetch + " +Z", 10021, "of the script itself"},
		{"not-a-name", transferring(`{"from":"A","from_script":"../from","to":"Z"}`), "", fetch + " +Z", 10021, "from_script"},
		{"other-tag", `{"old_tag":"v9","new_tag":"t1","transferred_classes":[` + one + `]}`, "", fetch + " +Z", 10079, "precondition"},
		{"bound-by-the-old-name", transferring(one), "A", fetch + " +Z", 10061, "Cannot create binding for class 'A'"},
	} {
		t.Run(c.name, func(t *testing.T) {
			refused(t, b.upload(t, to, moving(c.migrations, c.class), "w.js", c.code), c.number, c.text)
			untouched(c.name)
		})
	}
	if b.run.suspends != 0 {
		t.Error("a script was stopped for an upload that was refused")
	}
	b.run.stuck = errors.New("it does not stop")
	if err := b.upload(t, to, moving(transferring(one), "Z"), "w.js", fetch+" +Z"); !errors.Is(err, b.run.stuck) {
		t.Errorf("a process that does not stop: %v", err)
	}
	untouched("a process that does not stop")
	b.run.stuck = nil

	b.run.published = nil
	b.deployed(t, to, moving(`{"new_tag":"t1","steps":[{"new_classes":["New"]},{"transferred_classes":[`+one+`]},{"renamed_classes":[{"from":"Z","to":"Last"}]}]}`, "Last"), "w.js", fetch+" +New +Last")
	if names, ids := b.classesOf(t, to); names != "Last* New " || ids["Last"] != had["A"] {
		t.Errorf("classes %s %v, had %v", names, ids, had)
	}
	if names, _ := b.classesOf(t, from); names != "B C " {
		t.Errorf("classes of the other script: %s", names)
	}
	if b.run.suspends != 1 || len(b.run.suspended) != 0 || !slices.Contains(b.run.published, from) || !slices.Contains(b.run.published, to) {
		t.Errorf("%d suspensions, of which last %v; published %v", b.run.suspends, b.run.suspended, b.run.published)
	}

	refused(t, b.upload(t, from, moving("", "A"), "w.js", fetch+" +A +B +C"), 10061, "Cannot create binding for class 'A'")
	_, err := b.Deploy(ctx, from, Deployment{Versions: []store.DeployedVersion{{VersionID: first.Active, Percentage: 100}}})
	refused(t, err, 10211, "Durable Object migrations have been applied")
	_, err = b.PutSecret(ctx, from, secret(t, "S", "x"), "api")
	ok(t, err)
	ok(t, b.upload(t, from, moving("", "C"), "w.js", fetch+" +B +C"))
	b.deployed(t, from, moving(`{"new_tag":"v2","new_classes":["A"]}`, "A"), "w.js", fetch+" +A +B +C") // another one of that name
	if _, ids := b.classesOf(t, from); ids["A"] == had["A"] {
		t.Error("the new class is the old one")
	}
	ok(t, b.Delete(ctx, from))
	if names, ids := b.classesOf(t, to); names != "Last* New " || ids["Last"] != had["A"] {
		t.Errorf("after the deletion of the other script: classes %s %v", names, ids)
	}
}

// A class that a migration takes and deletes at once is deleted, and no longer the other script's.
func TestTransferAndDelete(t *testing.T) {
	b := newBench(t, Options{})
	b.deployed(t, sibling("from"), moving(`{"new_tag":"v1","new_classes":["A"]}`, ""), "w.js", fetch+" +A")
	b.deployed(t, sibling("to"), moving(`{"new_tag":"t1","steps":[{"transferred_classes":[{"from":"A","from_script":"from","to":"A"}]},{"deleted_classes":["A"]}]}`, ""), "w.js", fetch)
	if all, err := b.store.AllClasses(context.Background()); err != nil || len(all) != 0 {
		t.Errorf("classes %v %v", all, err)
	}
}

// Nobody takes a class from another account, another namespace, or the account's own scripts.
func TestTransferFromElsewhere(t *testing.T) {
	b := newBench(t, Options{})
	ctx := context.Background()
	const stranger = atoll.AccountID("ffffffffffffffffffffffffffffffff")
	ok(t, b.store.EnsureAccount(ctx, stranger, "Stranger"))
	_, err := b.store.CreateNamespace(ctx, acct, "staging", false, atoll.NamespaceSettings{})
	ok(t, err)
	_, err = b.store.CreateNamespace(ctx, stranger, prod, false, atoll.NamespaceSettings{})
	ok(t, err)
	places := []atoll.ScriptRef{
		{Account: acct}, {Account: acct, Namespace: prod}, {Account: acct, Namespace: "staging"}, {Account: stranger}, {Account: stranger, Namespace: prod},
	}
	for i, place := range places {
		victim := place
		victim.Name = atoll.ScriptName(fmt.Sprint("victim", i))
		b.deployed(t, victim, moving(`{"new_tag":"v1","new_classes":["A"]}`, ""), "w.js", fetch+" +A")
		_, had := b.classesOf(t, victim)
		for j, other := range places {
			if i == j {
				continue
			}
			thief := other
			thief.Name = "thief"
			md := moving(transferring(fmt.Sprintf(`{"from":"A","from_script":"%s","to":"A"}`, victim.Name)), "A")
			refused(t, b.upload(t, thief, md, "w.js", fetch+" +A"), 10021, "there is no script")
			// nor where the store alone is asked
			v := &atoll.Version{}
			list := []atoll.Class{{ID: had["A"], Name: "A"}}
			for _, c := range []store.ScriptChange{
				{Deploy: true, Classes: &list},
				{Deploy: true, Classes: &list, Transfers: []store.Transfer{{Class: had["A"], From: victim.Name}}},
				{Deploy: true, Classes: &list, Transfers: []store.Transfer{{Class: had["A"], From: "thief"}}},
			} {
				if _, err := b.store.PutVersion(ctx, thief, v, c); err == nil {
					t.Errorf("%s got the class of %s: %+v", thief, victim, c)
				}
			}
		}
		if _, ids := b.classesOf(t, victim); ids["A"] != had["A"] {
			t.Errorf("%s has %v", victim, ids)
		}
	}
}

// Two scripts that take a class from each other at the same time, over and over, never wait for one another, and no class is
// lost or doubled.
func TestTransferBothWays(t *testing.T) {
	b := newBench(t, Options{Starting: 64})
	scripts := []string{"left", "right"}
	for _, name := range scripts {
		b.deployed(t, sibling(name), moving(`{"new_tag":"v1","new_classes":["`+name+`"]}`, ""), "w.js", fetch+" +left +right")
	}
	before, err := b.store.AllClasses(context.Background())
	ok(t, err)
	var wg sync.WaitGroup
	for i, name := range scripts {
		other := scripts[1-i]
		for range 4 {
			wg.Go(func() {
				for range 10 {
					for _, class := range scripts {
						md := moving(transferring(fmt.Sprintf(`{"from":"%s","from_script":"%s","to":"%[1]s"}`, class, other)), "")
						err := b.upload(t, sibling(name), md, "w.js", fetch+" +left +right")
						if f := fault.Of(err); err != nil && (f == nil || f.Code != 10021) {
							t.Error(err)
						}
					}
				}
			})
		}
	}
	wg.Wait()
	after, err := b.store.AllClasses(context.Background())
	ok(t, err)
	if len(after) != 2 || after[0].Class != before[0].Class || after[1].Class != before[1].Class {
		t.Errorf("classes %v, before %v", after, before)
	}
	if len(b.locks.held) != 0 || b.run.suspends == 0 {
		t.Errorf("locks %v, %d transfers", b.locks.held, b.run.suspends)
	}
}

// A transfer that the store does not take, once the other script has been stopped, has changed nothing, and the script goes on.
func TestTransferNotStored(t *testing.T) {
	b := newBench(t, Options{})
	from, to := sibling("from"), sibling("to")
	b.deployed(t, from, moving(`{"new_tag":"v1","new_classes":["A"]}`, ""), "w.js", fetch+" +A")
	_, had := b.classesOf(t, from)
	b.run.stopped = func() { _ = b.store.Close() }
	b.run.published = nil
	if err := b.upload(t, to, moving(transferring(`{"from":"A","from_script":"from","to":"A"}`), "A"), "w.js", fetch+" +A"); err == nil {
		t.Fatal("it was stored")
	}
	if b.run.suspends != 1 || len(b.run.suspended) != 0 || !slices.Contains(b.run.published, from) {
		t.Errorf("%d suspensions, of which last %v; published %v", b.run.suspends, b.run.suspended, b.run.published)
	}
	again, err := store.Open(nil, b.dir, store.Key{})
	ok(t, err)
	defer again.Close()
	s, err := again.Script(context.Background(), from)
	ok(t, err)
	if len(s.Classes) != 1 || s.Classes[0].ID != had["A"] {
		t.Errorf("classes %v, had %v", s.Classes, had)
	}
	if _, err := again.Script(context.Background(), to); fault.KindOf(err) != fault.NotFound {
		t.Errorf("the new script: %v", err)
	}
}
