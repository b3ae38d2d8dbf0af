package sandbox

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// UIDRange is Count user ids from First on; the same numbers serve as group ids.
type UIDRange struct{ First, Count int }

// The default ranges, by systemd's table of ids (https://systemd.io/UIDS-GIDS/): one that is assigned to nobody, and,
// for a node in a container that has only 16 bits of them, the one of dynamic users.
var (
	ownRange  = UIDRange{1879048192, 65536}
	tinyRange = UIDRange{61184, 4336}
)

// uidPool hands out user ids that no other live process has.
type uidPool struct {
	rng UIDRange // Count 0: the node may not give ids

	mu   sync.Mutex
	next int
	used map[int]struct{}
}

// newUIDPool takes the range that was asked for, or one of the defaults, or none.
func newUIDPool(want UIDRange) (*uidPool, error) {
	p := &uidPool{used: map[int]struct{}{}}
	ranges := []UIDRange{want}
	if want.Count == 0 {
		ranges = []UIDRange{ownRange, tinyRange}
	}
	if maySetIDs() {
		for _, r := range ranges {
			if mapped("/proc/self/uid_map", r) && mapped("/proc/self/gid_map", r) {
				p.rng = r
				return p, nil
			}
		}
	}
	if want.Count > 0 {
		return nil, fmt.Errorf("this process may not give out user ids %d to %d", want.First, want.First+want.Count-1)
	}
	return p, nil
}

// maySetIDs tells whether this process may map other ids than its own into a user namespace (user_namespaces(7)).
func maySetIDs() bool {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return false
	}
	const need = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID
	return data[0].Effective&need == need
}

// mapped tells whether the node's own user namespace knows the whole of r.
func mapped(file string, r UIDRange) bool {
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	for {
		var inside, outside, count int
		if _, err := fmt.Fscan(f, &inside, &outside, &count); err != nil {
			return false
		}
		if r.First >= inside && r.First+r.Count <= inside+count {
			return true
		}
	}
}

// get returns an id, or -1 and false where there is none to give.
func (p *uidPool) get() (int, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.used) >= p.rng.Count {
		return -1, false
	}
	for {
		id := p.rng.First + p.next
		p.next = (p.next + 1) % p.rng.Count
		if _, taken := p.used[id]; !taken {
			p.used[id] = struct{}{}
			return id, true
		}
	}
}

func (p *uidPool) put(id int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.used, id)
}
