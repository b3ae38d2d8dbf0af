package backup

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The parts of a data directory that are not copied like the rest.
const (
	blobsDir   = "blobs"      // content that atoll.db refers to
	r2Dir      = "r2"         // r2.db, and
	r2Files    = "r2/objects" // content that it refers to
	metadata   = "atoll.db"
	d1List     = "d1.db" // refers to the databases in
	d1Dir      = "d1"
	transfers  = "d1/transfers" // of exports and imports under way, which end with the node
	objectsDir = "objects"
	lockFile   = "lock"
)

// An entry says what is done with one of the data directory.
type entry struct {
	dir   bool
	lost  bool // not worth a backup: the node makes it anew
	whole bool // written by package durable, under another name until it is complete
}

// entries are all that a node makes in its data directory, besides the files that SQLite keeps beside a database. A store with
// content apart from its database, as R2 has it, needs an order in copier.all too. TestBackupOfEveryStore starts a node that
// makes all of them.
var entries = map[string]entry{
	metadata:       {},
	blobsDir:       {dir: true},
	"kv.db":        {},
	"queues.db":    {},
	"analytics.db": {},
	d1List:         {},
	d1Dir:          {dir: true},
	r2Dir:          {dir: true},
	objectsDir:     {dir: true},
	"cache":        {dir: true, lost: true},
	lockFile:       {lost: true},
	"secret.key":   {whole: true},
	"api-token":    {whole: true},
	"account-id":   {whole: true},
	"lost+found":   {dir: true, lost: true}, // of a file system whose root the data directory is
}

// survey compares the data directory with the list: what is of another kind fails, since it would be missed, and what is not
// in it is copied and reported. It notes what is left out.
func (b *copier) survey() error {
	b.without = map[string]bool{transfers: true}
	found, err := os.ReadDir(b.data)
	if err != nil {
		return err
	}
	for _, f := range found {
		e, known := entries[f.Name()]
		switch {
		case known && e.lost:
			b.without[f.Name()] = true
		case known && e.dir && !f.IsDir(), known && !e.dir && !f.Type().IsRegular():
			return fmt.Errorf("%s is %s, which a node makes none of, and which a backup would miss", filepath.Join(b.data, f.Name()), kind(f.Type()))
		case unfinished(f.Name()):
			b.without[f.Name()] = true
		case !known && !side(filepath.Join(b.data, f.Name())):
			b.Unknown = append(b.Unknown, f.Name())
		}
	}
	return nil
}

// unfinished reports whether a name is of a file that package durable has not completed.
func unfinished(name string) bool {
	for file, e := range entries {
		if e.whole && strings.HasPrefix(name, "."+file+".") {
			return true
		}
	}
	return false
}

// kind names a kind of file.
func kind(m os.FileMode) string {
	switch {
	case m.IsRegular():
		return "a file"
	case m.IsDir():
		return "a directory"
	case m&os.ModeSymlink != 0:
		return "a symbolic link"
	}
	return "no file"
}
