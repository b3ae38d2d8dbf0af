package isolate

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/sandbox"
)

// objectsGuest is the directory of Durable Objects as a process sees it: those of its own Worker's classes, and no others.
const objectsGuest = "/objects"

// objectBytes is what one Durable Object may store: https://developers.cloudflare.com/durable-objects/platform/limits/
const objectBytes = 10 << 30

// Room is what a process's Durable Objects may store.
type Room int

// The rooms.
const (
	Plenty Room = iota // up to objectBytes each
	Scant              // no object may become larger than is needed to delete it as a whole
	None               // nothing can be written
)

// SetRoom says what the process's Durable Objects may store from now on. What they have stored they can read.
func (p *Process) SetRoom(r Room) error {
	return p.proc.LimitFiles(map[Room]uint64{Plenty: objectBytes, Scant: 64 << 10, None: 0}[r])
}

// disks are what a process has of the storage of Durable Objects. The locks go to the process as open files that it does
// not know of: they are held until it has ended, whatever becomes of the node.
type disks struct {
	binds []sandbox.Bind
	locks []*os.File
}

var errNoObjects = errors.New("this node stores no Durable Objects")

// disks takes the directories of the classes of a Worker, in the order of their ids, so that nobody waits for one another.
func (f *Factory) disks(spec Spec) (d disks, err error) {
	if len(spec.Classes) == 0 || spec.Volatile {
		return d, nil
	}
	if f.opts.Objects == nil {
		return d, errNoObjects
	}
	classes := slices.SortedFunc(slices.Values(spec.Classes), func(a, b atoll.Class) int { return strings.Compare(a.ID, b.ID) })
	for _, c := range classes {
		dir, lock, err := f.opts.Objects.Take(f.ctx, c.ID)
		if err != nil {
			d.close()
			return disks{}, fmt.Errorf("take Durable Objects of class %s: %w", c.Name, err)
		}
		d.locks = append(d.locks, lock)
		d.binds = append(d.binds, sandbox.Bind{Host: dir, Guest: path.Join(objectsGuest, c.ID), Writable: true})
	}
	return d, nil
}

// close lets go of the node's own copies of the locks.
func (d disks) close() {
	for _, l := range d.locks {
		l.Close()
	}
}
