package deploy

import (
	"context"
	"fmt"
	"testing"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/store"
)

// classNames lists the classes of a script by name, with a mark at those with SQLite storage.
func (b *bench) classNames(t *testing.T) (names string, ids map[string]string) {
	t.Helper()
	return b.classesOf(t, cust)
}

func (b *bench) classesOf(t *testing.T, ref atoll.ScriptRef) (names string, ids map[string]string) {
	t.Helper()
	s, err := b.store.Script(context.Background(), ref)
	ok(t, err)
	ids = map[string]string{}
	for _, c := range s.Classes {
		names += c.Name
		if c.SQLite {
			names += "*"
		}
		names += " "
		ids[c.Name] = c.ID
	}
	return names, ids
}

func TestMigrations(t *testing.T) {
	b := newBench(t, Options{})
	const bound = `"bindings":[{"type":"durable_object_namespace","name":"X","class_name":"%s"}]`
	deploy := func(migrations, class, code string) error {
		md := `{"main_module":"w.js"`
		if class != "" {
			md += "," + fmt.Sprintf(bound, class)
		}
		if migrations != "" {
			md += `,"migrations":` + migrations
		}
		return b.upload(t, cust, md+"}", "w.js", code)
	}
	const a, ab = "handlers: fetch +A", "handlers: fetch +A +B"

	refused(t, deploy("", "A", a), 10061, "Cannot create binding for class 'A' because it is not currently configured to implement Durable Objects")
	refused(t, deploy(`{"new_tag":"v1","new_sqlite_classes":["A"]}`, "A", "handlers: fetch"), 10070, "Cannot apply new-class migration to class 'A' that is not exported by script")
	if _, err := b.store.Script(context.Background(), cust); fault.KindOf(err) != fault.NotFound {
		t.Errorf("after refusals: %v", err)
	}
	ok(t, deploy(`{"new_tag":"v1","new_sqlite_classes":["A"]}`, "A", a))
	names, before := b.classNames(t)
	if names != "A* " {
		t.Errorf("classes %s", names)
	}
	refused(t, deploy(`{"new_tag":"v1","new_sqlite_classes":["A"]}`, "A", a), 10074, "Cannot apply new-class migration to class 'A' that is already depended on by existing Durable Objects")
	refused(t, deploy(`{"old_tag":"v0","new_tag":"v2","new_classes":["B"]}`, "A", ab), 10079, "Migration tag precondition failed; current tag is 'v1'")
	refused(t, deploy("", "", "handlers: fetch"), 10064, "New version of script does not export class 'A' which is depended on by existing Durable Objects")
	refused(t, deploy(`{"old_tag":"v1","new_tag":"v2","deleted_classes":["A"]}`, "A", "handlers: fetch"), 10061, "Cannot apply --delete-class migration to class 'A' without also removing the binding that references it.")
	refused(t, deploy(`{"old_tag":"v1","new_tag":"v2","deleted_classes":["Z"]}`, "A", a), 10021, "the script has no Durable Objects of that class")
	refused(t, deploy(`{"old_tag":"v1","new_tag":"v2","renamed_classes":[{"from":"Z","to":"Y"}]}`, "A", a), 10021, "the script has no Durable Objects of that class")
	refused(t, deploy(`{"old_tag":"v1","new_tag":"v2","transferred_classes":[{"from":"Z","from_script":"other","to":"Y"}]}`, "A", a), 10021, "there is no script 'other' beside this one")
	refused(t, b.upload(t, cust, `{"main_module":"w.js","bindings":[{"type":"durable_object_namespace","name":"X","class_name":"A","script_name":"other"}]}`, "w.js", a), 10021, "objects of another script are not supported")
	refused(t, b.upload(t, cust, `{"main_module":"w.js","bindings":[{"type":"durable_object_namespace","name":"X","class_name":"A","namespace_id":"0123456789abcdef0123456789abcdef"}]}`, "w.js", a), 10021, "the namespace of class 'A' is")

	ok(t, deploy("", "A", a)) // a redeploy without migrations
	ok(t, deploy(`{"old_tag":"v1","new_tag":"v2","steps":[{"new_classes":["B"]},{"renamed_classes":[{"from":"A","to":"C"}]},{"renamed_classes":[{"from":"B","to":"A"}]}]}`, "A", "handlers: fetch +A +C"))
	names, after := b.classNames(t)
	if names != "A C* " || after["C"] != before["A"] || after["A"] == before["A"] {
		t.Errorf("classes %s, %v before and %v after", names, before, after)
	}
	ok(t, deploy(`{"old_tag":"v2","new_tag":"v3","renamed_classes":[{"from":"A","to":"T"},{"from":"C","to":"A"},{"from":"T","to":"C"}]}`, "A", "handlers: fetch +A +C"))
	names, swapped := b.classNames(t)
	if names != "A* C " || swapped["A"] != after["C"] || swapped["C"] != after["A"] {
		t.Errorf("classes %s, %v before and %v after", names, after, swapped)
	}
	ok(t, deploy(`{"old_tag":"v3","new_tag":"v4","deleted_classes":["C"]}`, "A", a))
	if names, _ = b.classNames(t); names != "A* " {
		t.Errorf("classes %s", names)
	}
}

// A version that was made for other classes than the script has now cannot be deployed again.
func TestRollbackAcrossMigrations(t *testing.T) {
	b := newBench(t, Options{})
	first := b.deployed(t, cust, `{"main_module":"w.js"}`, "w.js", fetch)
	b.deployed(t, cust, `{"main_module":"w.js","migrations":{"new_tag":"v1","new_classes":["A"]}}`, "w.js", fetch+" +A")
	second := b.deployed(t, cust, `{"main_module":"w.js"}`, "w.js", fetch+" +A")
	third := b.deployed(t, cust, `{"main_module":"w.js"}`, "w.js", fetch+" scheduled +A")
	deploy := func(id string) error {
		_, err := b.Deploy(context.Background(), cust, Deployment{Versions: []store.DeployedVersion{{VersionID: atoll.VersionID(id), Percentage: 100}}})
		return err
	}
	ok(t, deploy(string(second.Active)))
	ok(t, deploy(string(third.Active)))
	refused(t, deploy(string(first.Active)), 10211, "Durable Object migrations have been applied")
}
