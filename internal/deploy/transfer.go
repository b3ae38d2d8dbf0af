package deploy

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/store"
	"atoll.dev/atoll/internal/upload"
)

// A class that is transferred keeps its id, and so its objects keep theirs: storage is found by the class's id alone, and
// nothing on the disk has to be moved. What changes is whose the class is, in the transaction that stores the version. The
// other script's process is stopped before it and not started until it is over, so that none of before can come back.

// source is a script that classes are transferred from.
type source struct {
	classes []atoll.Class  // that it still has
	active  *atoll.Version // nil: none is deployed
}

// sources are the scripts of the same place as ref that a migration takes classes from, by name.
func sources(ref atoll.ScriptRef, m *upload.Migrations) ([]atoll.ScriptRef, error) {
	if m == nil {
		return nil, nil
	}
	var list []atoll.ScriptRef
	for _, step := range m.Steps {
		for _, t := range step.Transferred {
			name, err := atoll.ParseScriptName(t.FromScript)
			if err != nil {
				return nil, fault.Newf(fault.Invalid, 10021, "Cannot apply transfer-class migration to class '%s': from_script: %s", t.From, fault.Of(err).Message)
			}
			from := atoll.ScriptRef{Account: ref.Account, Namespace: ref.Namespace, Name: name}
			if from == ref {
				return nil, fault.Newf(fault.Invalid, 10021, "Cannot apply transfer-class migration to class '%s' of the script itself: a rename-class migration gives it another name", t.From)
			}
			list = append(list, from)
		}
	}
	slices.SortFunc(list, func(a, b atoll.ScriptRef) int { return strings.Compare(string(a.Name), string(b.Name)) })
	list = slices.Compact(list)
	if len(list) > maxClasses {
		return nil, fault.Newf(fault.Invalid, 10021, "a migration transfers classes of at most %d scripts", maxClasses)
	}
	return list, nil
}

// lock waits for the turns of the script and of those that the migration, nil for none, takes classes from. Everybody waits
// for them in the order of their names, so that nobody waits for one another.
func (s *Service) lock(ctx context.Context, ref atoll.ScriptRef, m *upload.Migrations) (release func(), err error) {
	all, err := sources(ref, m)
	if err != nil {
		return nil, err
	}
	all = append(all, ref)
	slices.SortFunc(all, func(a, b atoll.ScriptRef) int { return strings.Compare(string(a.Name), string(b.Name)) })
	var held []func()
	release = func() {
		for _, r := range slices.Backward(held) {
			r()
		}
	}
	for _, r := range all {
		one, err := s.locks.acquire(ctx, r)
		if err != nil {
			release()
			return nil, err
		}
		held = append(held, one)
	}
	return release, nil
}

// sources loads the scripts that the draft takes classes from. The caller holds their locks.
func (s *Service) sources(ctx context.Context, d *draft) (map[string]*source, error) {
	refs, err := sources(d.ref, d.migrations)
	if err != nil {
		return nil, err
	}
	found := map[string]*source{}
	for _, ref := range refs {
		script, err := s.store.Script(ctx, ref)
		if isMissing(err, ref) {
			continue // said when a class is looked for
		}
		if err != nil {
			return nil, err
		}
		found[string(ref.Name)] = &source{script.Classes, script.Version}
	}
	return found, nil
}

// transfer takes a class of another script.
func (c *classes) transfer(m upload.Move) error {
	from := c.sources[m.FromScript]
	if from == nil {
		return fault.Newf(fault.Invalid, 10021, "Cannot apply transfer-class migration to class '%s': there is no script '%s' beside this one", m.From, m.FromScript)
	}
	i := slices.IndexFunc(from.classes, func(k atoll.Class) bool { return k.Name == m.From })
	if i < 0 {
		return fault.Newf(fault.Invalid, 10021, "Cannot apply transfer-class migration to class '%s': script '%s' has no Durable Objects of that class", m.From, m.FromScript)
	}
	if c.index(m.To) >= 0 {
		return fault.Newf(fault.Invalid, 10074, "Cannot apply transfer-class migration to class '%s' that is already depended on by existing Durable Objects", m.To)
	}
	if len(c.all) == maxClasses {
		return tooManyClasses()
	}
	if b, ok := from.binds(m.From); ok {
		return fault.Newf(fault.Invalid, 10061, "Cannot apply transfer-class migration to class '%s' of script '%s' while its binding '%s' references it: "+
			"objects of another script are not supported by this node yet. Deploy '%[2]s' without the binding first.", m.From, m.FromScript, b)
	}
	class := from.classes[i]
	from.classes = slices.Delete(slices.Clone(from.classes), i, i+1)
	c.all = append(c.all, atoll.Class{ID: class.ID, Name: m.To, SQLite: class.SQLite})
	c.fresh[m.To] = "transfer-class"
	c.taken = append(c.taken, store.Transfer{Class: class.ID, From: atoll.ScriptName(m.FromScript)})
	return nil
}

// binds names a binding of the active version to a class of its own. Cloudflare has such bindings lead to the class's new
// script; this node cannot, and must not take the objects away from under code that uses them.
func (s *source) binds(class string) (name string, ok bool) {
	if s.active == nil {
		return "", false
	}
	for _, b := range s.active.Bindings {
		if b.Type == "durable_object_namespace" && upload.StringField(b, "class_name") == class {
			return b.Name, true
		}
	}
	return "", false
}

// suspend stops the processes of the scripts that the draft takes classes from, and holds the classes' storage, until done
// is called, by when whoever serves those scripts looks at what they are now.
func (s *Service) suspend(ctx context.Context, d *draft) (done func(), err error) {
	var ends []func()
	done = func() {
		for _, end := range slices.Backward(ends) {
			end()
		}
	}
	byScript := map[atoll.ScriptName][]string{}
	for _, t := range d.classes.taken {
		byScript[t.From] = append(byScript[t.From], t.Class)
	}
	for name, taken := range byScript {
		ref := atoll.ScriptRef{Account: d.ref.Account, Namespace: d.ref.Namespace, Name: name}
		resume, err := s.run.Suspend(ctx, ref, taken)
		if err != nil {
			done()
			return nil, fmt.Errorf("stop %s: %w", ref, err)
		}
		ends = append(ends, func() { s.run.Publish(ref); resume() })
	}
	return done, nil
}
