package upload

import (
	"encoding/json"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
)

// Migrations is a change of a script's Durable Object classes, in one or several steps:
// https://developers.cloudflare.com/durable-objects/reference/durable-objects-migrations/
type Migrations struct {
	OldTag *string // the tag the script must have; nil: any
	NewTag string
	Steps  []Migration
	Raw    json.RawMessage // as sent
}

// Migration is one step. Within it classes are deleted first, then renamed, transferred and made.
type Migration struct {
	New         []string // with key-value storage alone
	NewSQLite   []string
	Deleted     []string
	Renamed     []Move
	Transferred []Move
}

// Move says that a class has another name from now on, or another script.
type Move struct {
	From, FromScript, To string
}

// maxSteps bounds the steps of one migration, and the classes in each list of a step.
const maxSteps = 1000

// migrations takes a migration. Its form is checked; what it means for the classes that there are, package deploy knows.
func (d *document) migrations() *Migrations {
	raw, in := d.object("migrations")
	if raw == nil {
		return nil
	}
	m := &Migrations{Raw: raw}
	if _, ok := in.obj["old_tag"]; ok {
		if old := in.string("old_tag"); old != "" {
			m.OldTag = &old
		}
	}
	m.NewTag = in.string("new_tag")
	steps := in.take("steps")
	if steps == nil {
		m.Steps = []Migration{in.step()}
	} else {
		var list []map[string]json.RawMessage
		if json.Unmarshal(steps, &list) != nil || len(list) > maxSteps {
			in.wrong("steps", "an array of objects")
		}
		for _, obj := range list {
			step := document{root: in.root + ".steps", obj: obj}
			m.Steps = append(m.Steps, step.step())
			in.adopt(step)
		}
	}
	d.adopt(in)
	return m
}

// step takes one step.
func (d *document) step() Migration {
	return Migration{
		New:         d.classes("new_classes"),
		NewSQLite:   d.classes("new_sqlite_classes"),
		Deleted:     d.classes("deleted_classes"),
		Renamed:     d.moves("renamed_classes", false),
		Transferred: d.moves("transferred_classes", true),
	}
}

// classes takes a list of names of classes.
func (d *document) classes(name string) []string {
	list := d.strings(name)
	if len(list) > maxSteps {
		d.wrong(name, "an array of at most 1000 names")
	}
	for _, c := range list {
		if err := atoll.CheckClassName(c); err != nil && d.err == nil {
			d.err = fault.Newf(fault.Invalid, 10021, "%s.%s: %s", d.root, name, fault.Of(err).Message)
		}
	}
	return list
}

// moves takes a list of renamed or transferred classes.
func (d *document) moves(name string, transferred bool) (moves []Move) {
	want := "an array of objects with from and to"
	if transferred {
		want = "an array of objects with from, from_script and to"
	}
	raw := d.take(name)
	if raw == nil {
		return nil
	}
	var list []map[string]json.RawMessage
	if json.Unmarshal(raw, &list) != nil || len(list) > maxSteps {
		d.wrong(name, want)
		return nil
	}
	for _, obj := range list {
		m := Move{From: asString(obj["from"]), FromScript: asString(obj["from_script"]), To: asString(obj["to"])}
		if atoll.CheckClassName(m.From) != nil || atoll.CheckClassName(m.To) != nil || transferred && m.FromScript == "" {
			d.wrong(name, want)
		}
		moves = append(moves, m)
	}
	return moves
}
