package deploy

import (
	"context"
	"slices"
	"strings"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/store"
	"atoll.dev/atoll/internal/upload"
)

// classes is what a change makes of a script's Durable Object classes.
type classes struct {
	all     []atoll.Class     // by name
	fresh   map[string]string // names of those that the change makes or takes, and how
	deleted map[string]bool   // names of those that it deletes
	taken   []store.Transfer  // those that were another script's
	sources map[string]*source
}

// migrate applies the steps of a migration, nil for none, to the classes that a script has and those of the scripts that it
// takes some from:
// https://developers.cloudflare.com/durable-objects/reference/durable-objects-migrations/
func migrate(have []atoll.Class, from map[string]*source, m *upload.Migrations) (classes, error) {
	c := classes{all: slices.Clone(have), fresh: map[string]string{}, deleted: map[string]bool{}, sources: from}
	if m != nil {
		for _, step := range m.Steps {
			if err := c.apply(step); err != nil {
				return c, err
			}
		}
	}
	slices.SortFunc(c.all, func(a, b atoll.Class) int { return strings.Compare(a.Name, b.Name) })
	return c, nil
}

// migrate sets the classes of the draft.
func (s *Service) migrate(ctx context.Context, d *draft) error {
	from, err := s.sources(ctx, d)
	if err != nil {
		return err
	}
	var have []atoll.Class
	if d.script != nil {
		have = d.script.Classes
	}
	if d.classes, err = migrate(have, from, d.migrations); err != nil {
		return err
	}
	d.version.Classes = d.classes.all
	if d.migrations != nil {
		d.change.Classes, d.change.Transfers = &d.classes.all, d.classes.taken
	}
	return nil
}

func (c *classes) apply(step upload.Migration) error {
	for _, name := range step.Deleted {
		i := c.index(name)
		if i < 0 {
			return fault.Newf(fault.Invalid, 10021, "Cannot apply delete-class migration to class '%s': the script has no Durable Objects of that class", name)
		}
		c.all = slices.Delete(c.all, i, i+1)
		c.deleted[name] = true
	}
	for _, r := range step.Renamed {
		i := c.index(r.From)
		if i < 0 {
			return fault.Newf(fault.Invalid, 10021, "Cannot apply rename-class migration to class '%s': the script has no Durable Objects of that class", r.From)
		}
		if c.index(r.To) >= 0 {
			return fault.Newf(fault.Invalid, 10074, "Cannot apply rename-class migration to class '%s' that is already depended on by existing Durable Objects", r.To)
		}
		c.all[i].Name = r.To
	}
	for _, t := range step.Transferred {
		if err := c.transfer(t); err != nil {
			return err
		}
	}
	for _, name := range step.New {
		if err := c.add(name, false); err != nil {
			return err
		}
	}
	for _, name := range step.NewSQLite {
		if err := c.add(name, true); err != nil {
			return err
		}
	}
	return nil
}

// maxClasses is how many classes a script may have:
// https://developers.cloudflare.com/durable-objects/platform/limits/ has 500 an account.
const maxClasses = 100

func (c *classes) add(name string, sqlite bool) error {
	if c.index(name) >= 0 {
		return fault.Newf(fault.Invalid, 10074, "Cannot apply new-class migration to class '%s' that is already depended on by existing Durable Objects", name)
	}
	if len(c.all) == maxClasses {
		return tooManyClasses()
	}
	c.all = append(c.all, atoll.Class{ID: atoll.NewID(), Name: name, SQLite: sqlite})
	c.fresh[name] = "new-class"
	return nil
}

func tooManyClasses() error {
	return fault.Newf(fault.Invalid, 10021, "a script has at most %d Durable Object classes", maxClasses)
}

func (c *classes) index(name string) int {
	return slices.IndexFunc(c.all, func(k atoll.Class) bool { return k.Name == name })
}

// checkBinding refuses a binding to objects that the script does not have. Those of another script live in that script's
// process, and the engine cannot bind a class of another process.
func (c *classes) checkBinding(ref atoll.ScriptRef, b atoll.Binding) error {
	if of := upload.StringField(b, "script_name"); of != "" && of != string(ref.Name) {
		return fault.Newf(fault.Invalid, 10021,
			"binding %s of type durable_object_namespace: `script_name` is '%s', and objects of another script are not supported by this node yet; bind that script as a service", b.Name, of)
	}
	if of := upload.StringField(b, "dispatch_namespace"); of != "" && of != string(ref.Namespace) {
		return fault.Newf(fault.Invalid, 10021,
			"binding %s of type durable_object_namespace: `dispatch_namespace` is '%s', and objects of another script are not supported by this node yet", b.Name, of)
	}
	name := upload.StringField(b, "class_name")
	class, ok := atoll.FindClass(c.all, name)
	switch {
	case !ok && c.deleted[name]:
		return fault.Newf(fault.Invalid, 10061, "Cannot apply --delete-class migration to class '%s' without also removing the binding that references it.", name)
	case !ok:
		return fault.Newf(fault.Invalid, 10061, "Cannot create binding for class '%s' because it is not currently configured to implement Durable Objects. Ensure a --new-class migration has been applied to it.", name)
	}
	if id := upload.StringField(b, "namespace_id"); id != "" && id != class.ID {
		return fault.Newf(fault.Invalid, 10021, "binding %s of type durable_object_namespace: the namespace of class '%s' is '%s', not '%s'", b.Name, name, class.ID, id)
	}
	return nil
}

// checkExports makes sure that the version, which has started, has all classes that there are objects of.
func (c *classes) checkExports(v *atoll.Version) error {
	for _, class := range c.all {
		if slices.ContainsFunc(v.NamedHandlers, func(h atoll.NamedHandlers) bool { return h.Name == class.Name }) {
			continue
		}
		if how := c.fresh[class.Name]; how != "" {
			return fault.Newf(fault.Invalid, 10070, "Cannot apply %s migration to class '%s' that is not exported by script", how, class.Name)
		}
		return fault.Newf(fault.Invalid, 10064,
			"New version of script does not export class '%s' which is depended on by existing Durable Objects. If you want to delete the class's Durable Objects, you must use a delete-class migration.", class.Name)
	}
	return nil
}

// sameClasses tells whether a version was made for the classes that the script has now. One that was not cannot be
// deployed: its migrations would have to be undone.
func sameClasses(s *atoll.Script, v *atoll.Version) bool {
	return slices.Equal(s.Classes, v.Classes)
}
