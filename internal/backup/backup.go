// Package backup copies a node's data directory to another place, also while the node runs and writes.
//
// It is not a tool to restore: the copy is a data directory that a node can be started on. It knows where in the directory
// content lies that a database refers to, and nothing of what the databases hold.
//
// Invariant: a directory of the given name is a whole backup. Each database in it is as it was at one moment while the
// backup was taken, and all content that it refers to is there. What was acknowledged before the backup began is in it.
//
// It runs in a process of its own, since a process that opens and closes a database's file loses the locks it has on it. One
// goroutine does it all.
package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/r2"
	"atoll.dev/atoll/internal/sqlite"
)

// Report is what a backup holds.
type Report struct {
	Databases int
	Files     int
	Bytes     int64
	Running   bool // the node ran meanwhile

	Damaged []string // files of a tenant's that are no databases any more, and why; copied byte by byte
	Unknown []string // what is in the data directory and not of a node's; copied
	Skipped []string // what is neither file nor directory; not copied
}

// Run copies the data directory to a directory that must not be there yet. Until it is complete it is called TO.partial.
func Run(ctx context.Context, data, to string) (Report, error) {
	data, err := filepath.Abs(data) // SQLite takes no others
	if err != nil {
		return Report{}, err
	}
	if data, err = filepath.EvalSymlinks(data); err != nil { // what is below a link is not walked
		return Report{}, fmt.Errorf("there is no node's data directory: %w", err)
	}
	if to, err = filepath.Abs(to); err != nil {
		return Report{}, err
	}
	b := copier{ctx: ctx, data: data, to: to + ".partial"}
	if err := errors.Join(b.check(to), b.survey()); err != nil {
		return b.Report, err
	}
	unlock, err := b.lock()
	if err != nil {
		return b.Report, err
	}
	defer unlock()
	if err := os.Mkdir(b.to, 0o700); err != nil {
		return b.Report, fmt.Errorf("make %s: %w; remove what an earlier backup has left", b.to, err)
	}
	if err := b.all(); err != nil {
		return b.Report, errors.Join(fmt.Errorf("back up %s: %w", data, noSpace(err)), os.RemoveAll(b.to))
	}
	if err := errors.Join(b.sync(b.to), os.Rename(b.to, to), b.sync(filepath.Dir(to))); err != nil {
		return b.Report, fmt.Errorf("complete the backup: %w", noSpace(err))
	}
	return b.Report, nil
}

type copier struct {
	Report
	ctx      context.Context // of the one call it serves
	data, to string
	without  map[string]bool // names that are left out
}

// check refuses what cannot be meant.
func (b *copier) check(to string) error {
	if _, err := os.Stat(filepath.Join(b.data, metadata)); err != nil {
		return fmt.Errorf("%s is no node's data directory: %w", b.data, err)
	}
	if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is there already: a backup is a new directory", to)
	}
	if strings.HasPrefix(to, b.data+string(filepath.Separator)) {
		return fmt.Errorf("%s is in the data directory itself", to)
	}
	return nil
}

// lock keeps a node from starting meanwhile, where none runs.
func (b *copier) lock() (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(b.data, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err != nil && !errors.Is(err, unix.EWOULDBLOCK) {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", b.data, err)
	}
	b.Running = err != nil
	return func() { f.Close() }, nil
}

// all copies everything. Content comes before the database that refers to it, so that there is little left to copy after the
// latter, while the node may delete.
func (b *copier) all() error {
	for _, content := range []string{blobsDir, r2Files} {
		if err := b.tree(content, nil); err != nil {
			return err
		}
	}
	// Blobs stay for two hours after their last use: those that the copy of the database refers to are there still.
	if err := errors.Join(b.tree(metadata, nil), b.tree(blobsDir, nil)); err != nil {
		return err
	}
	if err := b.r2(); err != nil {
		return err
	}
	// A database of D1 that is made meanwhile is in no list then; the other way round, one in the list would be without its file.
	if err := b.tree(d1List, nil); err != nil {
		return err
	}
	rest := maps.Clone(b.without)
	for _, copied := range []string{blobsDir, r2Dir, metadata, d1List} {
		rest[copied] = true
	}
	return b.tree(".", rest)
}

// r2 copies R2's database and what it refers to. An object that is deleted between the two is missing; then the database is
// copied again, and what has been added since.
func (b *copier) r2() error {
	if _, err := os.Stat(filepath.Join(b.data, r2Dir)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for range 10 {
		if err := errors.Join(b.tree(r2Dir, map[string]bool{r2Files: true}), b.tree(r2Files, nil)); err != nil {
			return err
		}
		missing, err := r2.Missing(b.ctx, filepath.Join(b.to, r2Dir))
		if err != nil || missing == 0 {
			return err
		}
	}
	return errors.New("objects of R2 are replaced faster than they can be copied; stop the node for its backup")
}

// tree copies what is below a path of the data directory, and not below those left out. What was copied before and has not
// changed is left, databases aside.
func (b *copier) tree(path string, without map[string]bool) error {
	return filepath.WalkDir(filepath.Join(b.data, path), func(from string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // deleted meanwhile
		}
		if err != nil {
			return err
		}
		if b.ctx.Err() != nil {
			return context.Cause(b.ctx)
		}
		name, err := filepath.Rel(b.data, from)
		if err != nil {
			return err
		}
		to := filepath.Join(b.to, name)
		switch {
		case without[name] && d.IsDir():
			return filepath.SkipDir
		case without[name]:
			return nil
		case d.IsDir():
			return b.dir(from, to)
		case d.Type().IsRegular():
			if err := b.file(from, to); !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		case !slices.Contains(b.Skipped, name): // some trees are walked twice
			b.Skipped = append(b.Skipped, name)
		}
		return nil // or deleted meanwhile
	})
}

func (b *copier) dir(from, to string) error {
	st, err := os.Stat(from)
	if errors.Is(err, fs.ErrNotExist) {
		return filepath.SkipDir
	}
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	return own(to, st)
}

// file copies one, a database as of one moment.
func (b *copier) file(from, to string) error {
	if side(from) {
		return nil // what it holds comes with its database
	}
	st, err := os.Lstat(from)
	if err != nil {
		return err
	}
	database, err := sqlite.IsDatabase(from)
	if err != nil {
		return err
	}
	if database {
		if err = os.Remove(to); errors.Is(err, fs.ErrNotExist) {
			b.Databases++
		} else if err != nil {
			return err
		}
		err = b.database(from, to)
	} else {
		var copied bool
		if copied, err = b.plain(from, to, st); err == nil && !copied {
			return nil
		}
	}
	if err != nil {
		return err
	}
	b.Bytes += st.Size()
	return own(to, st)
}

// plain copies a file that is no database, unless that was done before and it has not changed.
func (b *copier) plain(from, to string, st fs.FileInfo) (copied bool, err error) {
	old, err := os.Lstat(to)
	if err == nil && old.Size() == st.Size() && old.ModTime().Equal(st.ModTime()) {
		return false, nil
	}
	if err := copyFile(from, to); err != nil {
		return false, err
	}
	if old == nil {
		b.Files++
	}
	return true, os.Chtimes(to, st.ModTime(), st.ModTime())
}

// database copies one. A tenant's may hold anything, if not by the node's doing: one that SQLite cannot read is copied as it
// is, so that it costs nobody else their backup. A node's own is not: a backup of half a node is none.
func (b *copier) database(from, to string) error {
	name, _ := filepath.Rel(b.data, from)
	objects := below(objectsDir, name) // their processes write those files
	err := sqlite.Copy(b.ctx, from, to, !objects)
	if err == nil || !sqlite.Damaged(err) || !objects && !below(d1Dir, name) {
		return err
	}
	b.Damaged = append(b.Damaged, fmt.Sprintf("%s: %v", name, err))
	if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, suffix := range []string{"", "-wal", "-journal"} {
		if err := copyFile(from+suffix, to+suffix); err != nil && (suffix == "" || !errors.Is(err, fs.ErrNotExist)) {
			return err
		}
	}
	return nil
}

// below reports whether a name is of something in a directory.
func below(dir, name string) bool { return strings.HasPrefix(name, dir+string(filepath.Separator)) }

// side reports whether a file belongs to a database beside it: https://www.sqlite.org/tempfiles.html
func side(path string) bool {
	for _, suffix := range []string{"-wal", "-shm", "-journal"} {
		if main, ok := strings.CutSuffix(path, suffix); ok {
			_, err := os.Stat(main)
			return err == nil
		}
	}
	return false
}

func copyFile(from, to string) (err error) {
	in, err := os.OpenFile(from, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0) // a pipe would be waited for
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, in)
	return err
}

// own gives a copy the mode and, for root, the owner of what it is a copy of: the files of Durable Objects are their
// processes'.
func own(path string, st fs.FileInfo) error {
	if err := os.Chmod(path, st.Mode().Perm()); err != nil {
		return err
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 {
		return nil
	}
	return os.Lchown(path, int(sys.Uid), int(sys.Gid))
}

// sync writes all that is pending on a directory's file system to the disk.
func (b *copier) sync(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return unix.Syncfs(int(d.Fd()))
}

// noSpace says what is the matter where it is the disk.
func noSpace(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || fault.KindOf(err) == fault.Full {
		return fmt.Errorf("there is no room left for the backup: %w", err)
	}
	return err
}
