package d1

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"atoll.dev/atoll/internal/d1/history"
	"atoll.dev/atoll/internal/fault"
)

// bookmark is a place in a database's history: a commit of a second, whose number begins with the milliseconds, see
// history.Mark. Bookmarks of a database sort as they came about, also as text. SQLite's file header has both numbers, in fields that are for applications, so that they are part of the
// commit they name: https://sqlite.org/fileformat2.html#application_id.
type bookmark struct {
	second uint32 // since 1970
	n      uint32
}

// next is the bookmark of a commit now. Time does not go backwards here, whatever the clock does.
func (b bookmark) next(now time.Time) bookmark {
	next := bookmark{uint32(now.Unix()), uint32(now.Nanosecond()/int(time.Millisecond)) * history.Ticks}
	if next.mark() > b.mark() {
		return next
	}
	if b.n == 1<<31-1 {
		return bookmark{b.second + 1, 0}
	}
	return bookmark{b.second, b.n + 1}
}

// mark is what the history calls it.
func (b bookmark) mark() history.Mark { return history.Mark(b.second)<<32 | history.Mark(b.n) }

func bookmarkOf(m history.Mark) bookmark { return bookmark{uint32(m >> 32), uint32(m)} }

// stamp is the SQL that writes the bookmark into the file.
func (b bookmark) stamp() string {
	return fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d; ", int32(b.second), b.n)
}

// write does the same to the file's first page.
func (b bookmark) write(page []byte) {
	binary.BigEndian.PutUint32(page[60:], b.n)
	binary.BigEndian.PutUint32(page[68:], b.second)
}

func (db *database) readBookmark() error {
	second, err := db.conn.Int("PRAGMA application_id")
	if err != nil {
		return err
	}
	n, err := db.conn.Int("PRAGMA user_version")
	db.last = bookmark{uint32(second), uint32(n)}
	mark := db.last
	db.marked.Store(&mark)
	return err
}

// text is how clients see the bookmark, in the form of Cloudflare's. Its last part is of this database alone, so that another
// one's bookmark is not taken for its own.
func (b bookmark) text(id ID) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %d", id, b.second, b.n))
	return fmt.Sprintf("%08x-%08x-00000000-%s", b.second, b.n, hex.EncodeToString(sum[:16]))
}

// parseBookmark reads a bookmark of the database.
func parseBookmark(id ID, s string) (bookmark, error) {
	parts := strings.Split(s, "-")
	var b bookmark
	if len(parts) == 4 {
		second, err := strconv.ParseUint(parts[0], 16, 32)
		n, err2 := strconv.ParseUint(parts[1], 16, 32)
		if b = (bookmark{uint32(second), uint32(n)}); err == nil && err2 == nil && b.text(id) == s {
			return b, nil
		}
	}
	return b, fault.Newf(fault.Invalid, codeMalformed, "%.80q is not a bookmark of this database", s)
}
