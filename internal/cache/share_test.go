package cache

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestLeastRecentlyUsedGoes(t *testing.T) {
	body := strings.Repeat("x", 10<<10)
	r := newRig(t, Options{Owner: 50 << 10})
	for i := range 4 {
		r.put("a", fmt.Sprint("/", i), "", "", body)
	}
	r.want("a", "/0", "", body)
	r.put("a", "/4", "", "", body)
	for path, want := range map[string]string{"/0": body, "/1": "-", "/2": body, "/3": body, "/4": body} {
		r.want("a", path, "", want)
	}
	r.check()
}

// Whoever fills the cache pushes out what is his, and what others have beyond as much.
func TestNobodyIsPushedOutByAnother(t *testing.T) {
	for name, c := range map[string]struct {
		opts Options
		size int
	}{
		"memory":  {Options{Memory: 1 << 20}, 20 << 10},
		"disk":    {Options{Disk: 20 << 20}, 2 << 20},
		"account": {Options{Account: 1 << 20}, 20 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, c.opts)
			body := strings.Repeat("x", c.size)
			for i := range 3 {
				r.put("a/small", fmt.Sprint("/", i), "", "", body)
			}
			kept := 0
			for i := range 200 {
				if r.put("a/greedy", fmt.Sprint("/", i), "", "", body) != 204 {
					t.Fatal("not stored")
				}
			}
			r.check()
			for i := range 3 {
				r.want("a/small", fmt.Sprint("/", i), "", body)
			}
			for i := range 200 {
				if r.get("a/greedy", fmt.Sprint("/", i), "") == body {
					kept++
				}
			}
			if kept < 3 || kept > 190 {
				t.Errorf("the greedy one has %d", kept)
			}
			// And the small one may grow at the cost of the greedy one, up to as much as that has.
			for i := range 200 {
				r.put("a/small", fmt.Sprint("/", i), "", "", body)
			}
			r.check()
			small, greedy := r.st.shares[Owner{"a", "a/small"}].used.sum(), r.st.shares[Owner{"a", "a/greedy"}].used.sum()
			if d := small - greedy; d > 4*int64(c.size) || d < -4*int64(c.size) {
				t.Errorf("in the end one has %d, the other %d", small, greedy)
			}
		})
	}
}

// What an owner is writing counts as his: he cannot empty the caches of others by large bodies that never end.
func TestWritingCounts(t *testing.T) {
	r := newRig(t, Options{Disk: 16 << 20})
	body := strings.Repeat("x", 2<<20)
	r.put("a/small", "/", "", "", body)
	var tickets []*ticket
	for range 40 {
		k := r.st.ticket(Owner{"a", "a/greedy"})
		tickets = append(tickets, k)
		for k.grow(use{disk: spillBy}) {
		}
	}
	r.want("a/small", "/", "", body)
	if got := r.put("a/small", "/2", "", "", body); got != 413 {
		t.Errorf("there was room: %d", got)
	}
	for _, k := range tickets {
		k.close()
	}
	if got := r.put("a/small", "/2", "", "", body); got != 204 {
		t.Errorf("there was no room: %d", got)
	}
	r.check()
}

func TestObjectAsLargeAsItsOwnersRoom(t *testing.T) {
	r := newRig(t, Options{Owner: 4 << 20})
	r.put("a", "/small", "", "", "x")
	if got := r.put("a", "/", "", "", strings.Repeat("x", 4<<20+1)); got != 413 {
		t.Error(got)
	}
	r.want("a", "/small", "", "x") // nothing had to go for what could not be stored
	if got := r.put("a", "/", "", "", strings.Repeat("x", 3<<20)); got != 204 {
		t.Error(got)
	}
	r.check()
}

// On a full disk nothing large is stored; small entries, and what is there, are served on.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Skip("no tmpfs can be mounted here:", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	r := newRigIn(t, dir, Options{})
	r.put("a", "/there", "", "", strings.Repeat("y", 1<<20))
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 5<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := r.put("a", "/large", "", "", strings.Repeat("x", 4<<20)); got != http.StatusRequestEntityTooLarge {
		t.Errorf("large: %d", got)
	}
	r.want("a", "/large", "", "-")
	r.want("a", "/there", "", strings.Repeat("y", 1<<20))
	if got := r.put("a", "/small", "", "", "x"); got != http.StatusNoContent {
		t.Errorf("small: %d", got)
	}
	r.check()
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if got := r.put("a", "/large", "", "", strings.Repeat("x", 4<<20)); got != http.StatusNoContent {
		t.Errorf("large, with room: %d", got)
	}
	r.check()
}
