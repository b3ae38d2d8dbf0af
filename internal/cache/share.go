package cache

import (
	"container/list"
	"net/http"
	"slices"
	"time"
)

// entry is one stored response. It is immutable but for its place in lists; a body in a file is read by whoever has
// opened it before the file is removed.
type entry struct {
	share *share
	key   string
	vary  vary
	place *list.Element
	last  int64 // when it was last used, by the Store's clock
	size  use

	status  int
	header  http.Header
	body    []byte    // where file is empty
	file    string    // its name
	length  int64     // of the body
	age     int64     // seconds it had when it was stored
	stored  time.Time // when that was
	expires time.Time
}

func (e *entry) fresh(now time.Time) bool { return now.Before(e.expires) }

// use is what something takes, in bytes.
type use struct{ memory, disk int64 }

func (u use) sum() int64 { return u.memory + u.disk }

func (u *use) add(v use) {
	u.memory += v.memory
	u.disk += v.disk
}

func (u use) negative() use { return use{-u.memory, -u.disk} }

// maxVariants is how many responses are kept for one URL that differ by what Vary names.
const maxVariants = 32

// share is what one owner has.
type share struct {
	owner   Owner
	entries map[string][]*entry // by key, variants newest first
	small   list.List           // entries in memory, most recently used first
	large   list.List           // entries with a file, likewise
	used    use                 // of entries, and of files that are being written
	writing int                 // how many puts are under way
}

func (sh *share) lists() [2]*list.List { return [2]*list.List{&sh.small, &sh.large} }

// oldest is the least recently used entry, of those with a file where onDisk is set; nil: there is none.
func (sh *share) oldest(onDisk bool) *entry {
	var found *entry
	for _, l := range sh.lists() {
		if onDisk && l != &sh.large || l.Len() == 0 {
			continue
		}
		if e := l.Back().Value.(*entry); found == nil || e.last < found.last {
			found = e
		}
	}
	return found
}

func (s *Store) shareLocked(o Owner) *share {
	sh := s.shares[o]
	if sh == nil {
		sh = &share{owner: o, entries: map[string][]*entry{}}
		s.shares[o] = sh
	}
	return sh
}

// tidyLocked forgets a share that holds nothing.
func (s *Store) tidyLocked(sh *share) {
	if len(sh.entries) == 0 && sh.writing == 0 && s.shares[sh.owner] == sh {
		delete(s.shares, sh.owner)
	}
}

func (s *Store) touchLocked(e *entry) {
	s.clock++
	e.last = s.clock
	for _, l := range e.share.lists() {
		l.MoveToFront(e.place) // does nothing in the list that it is not of
	}
}

func (s *Store) countLocked(sh *share, u use) {
	sh.used.add(u)
	s.total.add(u)
	if s.used[sh.owner.Account] += u.sum(); s.used[sh.owner.Account] == 0 {
		delete(s.used, sh.owner.Account)
	}
}

// dropLocked forgets an entry and returns the name of its file.
func (s *Store) dropLocked(e *entry) string {
	sh := e.share
	rest := slices.DeleteFunc(slices.Clone(sh.entries[e.key]), func(other *entry) bool { return other == e })
	if len(rest) == 0 {
		delete(sh.entries, e.key)
	} else {
		sh.entries[e.key] = rest
	}
	for _, l := range sh.lists() {
		l.Remove(e.place)
	}
	s.countLocked(sh, e.size.negative())
	return e.file
}

// ticket is the room that a put has taken, for what it is writing.
type ticket struct {
	st    *Store
	share *share
	size  use
}

func (s *Store) ticket(o Owner) *ticket {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh := s.shareLocked(o)
	sh.writing++
	return &ticket{st: s, share: sh}
}

// grow takes more room, of entries that have to go where there is none left. It reports false where none can be had.
func (t *ticket) grow(u use) bool {
	s := t.st
	s.mu.Lock()
	s.countLocked(t.share, u)
	gone, ok := s.makeRoomLocked(t.share)
	if ok {
		t.size.add(u)
	} else {
		s.countLocked(t.share, u.negative())
	}
	s.mu.Unlock()
	s.remove(gone)
	return ok
}

// close gives back the room that no entry took over.
func (t *ticket) close() {
	s := t.st
	s.mu.Lock()
	defer s.mu.Unlock()
	s.countLocked(t.share, t.size.negative())
	t.size = use{}
	t.share.writing--
	s.tidyLocked(t.share)
}

// keep makes an entry of what was written, in the place of the one that would have been found instead.
func (t *ticket) keep(e *entry, replaces func(vary) bool) {
	s := t.st
	e.share, e.size, t.size = t.share, t.size, use{}
	var gone []string
	s.mu.Lock()
	for _, old := range e.share.entries[e.key] {
		if replaces(old.vary) {
			gone = append(gone, s.dropLocked(old))
		}
	}
	if list := e.share.entries[e.key]; len(list) == maxVariants {
		gone = append(gone, s.dropLocked(list[maxVariants-1]))
	}
	e.share.entries[e.key] = append([]*entry{e}, e.share.entries[e.key]...)
	l := &e.share.small
	if e.file != "" {
		l = &e.share.large
	}
	s.clock++
	e.last = s.clock
	e.place = l.PushFront(e)
	s.mu.Unlock()
	s.remove(gone)
}

// makeRoomLocked drops entries until all bounds hold again, on behalf of an owner that has taken more. It returns their
// files, and false where nothing may go.
func (s *Store) makeRoomLocked(sh *share) (gone []string, ok bool) {
	for {
		var victim *entry
		switch {
		case sh.used.sum() > s.opts.Owner:
			victim = sh.oldest(false)
		case s.opts.Account > 0 && s.used[sh.owner.Account] > s.opts.Account:
			victim = s.victimLocked(sh, false, use.sum, func(other *share) bool { return other.owner.Account == sh.owner.Account })
		case s.total.disk > s.opts.Disk:
			victim = s.victimLocked(sh, true, func(u use) int64 { return u.disk }, nil)
		case s.total.memory > s.opts.Memory:
			victim = s.victimLocked(sh, false, func(u use) int64 { return u.memory }, nil)
		default:
			return gone, true
		}
		if victim == nil {
			return gone, false
		}
		gone = append(gone, s.dropLocked(victim))
		if victim.share != sh {
			s.tidyLocked(victim.share)
		}
	}
}

// victimLocked is the oldest entry of the share that has most, by the given measure, among those that have entries to give
// and no less than sh; nil where there is none.
func (s *Store) victimLocked(sh *share, onDisk bool, measure func(use) int64, among func(*share) bool) *entry {
	var most *share
	for _, other := range s.shares {
		if among != nil && !among(other) || other.oldest(onDisk) == nil {
			continue
		}
		if most == nil || measure(other.used) > measure(most.used) {
			most = other
		}
	}
	if most == nil || measure(most.used) < measure(sh.used) {
		return nil
	}
	return most.oldest(onDisk)
}
