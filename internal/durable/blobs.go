package durable

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"atoll.dev/atoll/internal/fault"
)

// Blobs is a directory of immutable files named by the SHA-256 of their content: DIR/ab/abcdef..., with unfinished ones in
// DIR/tmp. A file's modification time says when it was last put, for whoever collects the unused ones.
type Blobs struct {
	dir string
	// shards are locks by the first byte of the hash. One is held from the look whether a blob exists until the directory
	// is on disk, and while a blob is deleted: so that a Put that finds the content there may rely on it.
	shards [256]sync.Mutex
}

// touchAfter is how old the time of a blob may be before another Put renews it; DeleteUnused allows for it.
const touchAfter = time.Minute

// OpenBlobs opens the store in dir, makes it where it is missing, and removes what unfinished writes left behind.
func OpenBlobs(dir string) (*Blobs, error) {
	b := &Blobs{dir: dir}
	if err := os.RemoveAll(b.tmp()); err != nil {
		return nil, fmt.Errorf("open blobs: %w", err)
	}
	if err := os.MkdirAll(b.tmp(), 0o700); err != nil {
		return nil, fmt.Errorf("open blobs: %w", noSpace(err))
	}
	for i := range b.shards {
		shard := b.shard(i)
		if err := os.MkdirAll(shard, 0o700); err != nil {
			return nil, fmt.Errorf("open blobs: %w", noSpace(err))
		}
		// A process that was killed between rename and sync left a name that only the page cache knows.
		if err := syncDir(shard); err != nil {
			return nil, fmt.Errorf("open blobs: %w", err)
		}
	}
	if err := errors.Join(syncDir(dir), syncDir(filepath.Dir(dir))); err != nil {
		return nil, fmt.Errorf("open blobs: %w", err)
	}
	return b, nil
}

// Put stores what r yields and returns its hash (lower-case hex) and size.
func (b *Blobs) Put(ctx context.Context, r io.Reader) (hash string, size int64, err error) {
	return b.put(ctx, "", r)
}

// PutAs is Put of content whose hash is known; other content is refused and not stored.
func (b *Blobs) PutAs(ctx context.Context, hash string, r io.Reader) (size int64, err error) {
	if !validHash.MatchString(hash) {
		return 0, badHash(hash)
	}
	_, size, err = b.put(ctx, hash, r)
	return size, err
}

// PutBytes is Put of bytes at hand. Content that is stored already costs one look at the directory.
func (b *Blobs) PutBytes(ctx context.Context, data []byte) (hash string, err error) {
	sum := sha256.Sum256(data)
	hash = hex.EncodeToString(sum[:])
	if there, err := b.renew(hash, int64(len(data))); there || err != nil {
		return hash, err
	}
	_, _, err = b.put(ctx, hash, bytes.NewReader(data))
	return hash, err
}

func (b *Blobs) put(ctx context.Context, want string, r io.Reader) (got string, size int64, err error) {
	defer func() { err = noSpace(err) }()
	f, err := os.CreateTemp(b.tmp(), "put-*")
	if err != nil {
		return "", 0, fmt.Errorf("put blob: %w", err)
	}
	defer os.Remove(f.Name()) // fails once renamed
	defer f.Close()
	sum := sha256.New()
	size, err = io.Copy(io.MultiWriter(f, sum), reader{ctx, r})
	if err != nil {
		return "", 0, fmt.Errorf("put blob: %w", err)
	}
	got = hexSum(sum)
	if want != "" && got != want {
		return "", 0, fault.Newf(fault.Invalid, 10021, "the content's SHA-256 is %s, not %s as announced", got, want)
	}
	if there, err := b.renew(got, size); there || err != nil {
		return got, size, err
	}
	if err := f.Sync(); err != nil {
		return "", 0, fmt.Errorf("put blob: %w", err)
	}
	return got, size, b.publish(f.Name(), got, size)
}

// Renew reports whether the blob is there, with that size; if so, it counts as put now.
func (b *Blobs) Renew(hash string, size int64) (bool, error) {
	if !validHash.MatchString(hash) {
		return false, badHash(hash)
	}
	return b.renew(hash, size)
}

// renew reports whether the blob is there; if so, it counts as put now. A file of another size is a damaged one, and is
// not there, so that the next Put of the content mends it.
func (b *Blobs) renew(hash string, size int64) (bool, error) {
	defer b.lock(hash)()
	return b.renewLocked(hash, size)
}

func (b *Blobs) renewLocked(hash string, size int64) (bool, error) {
	st, err := os.Stat(b.path(hash))
	if errors.Is(err, fs.ErrNotExist) || err == nil && st.Size() != size {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("put blob: %w", err)
	}
	if now := time.Now(); now.Sub(st.ModTime()) > touchAfter {
		if err := os.Chtimes(b.path(hash), time.Time{}, now); err != nil {
			return false, fmt.Errorf("put blob: %w", err)
		}
	}
	return true, nil
}

func (b *Blobs) publish(tmp, hash string, size int64) error {
	defer b.lock(hash)()
	if there, err := b.renewLocked(hash, size); there || err != nil {
		return err // someone else put the same content meanwhile
	}
	if err := os.Rename(tmp, b.path(hash)); err != nil {
		return fmt.Errorf("put blob: %w", err)
	}
	return syncDir(filepath.Dir(b.path(hash)))
}

// Open returns the blob for reading; the error of a missing one is fs.ErrNotExist.
func (b *Blobs) Open(hash string) (*os.File, error) {
	if !validHash.MatchString(hash) {
		return nil, badHash(hash)
	}
	f, err := os.Open(b.path(hash))
	if err != nil {
		return nil, fmt.Errorf("open blob: %w", err)
	}
	return f, nil
}

// Read returns the whole blob, checked against its hash.
func (b *Blobs) Read(hash string) ([]byte, error) {
	if !validHash.MatchString(hash) {
		return nil, badHash(hash)
	}
	data, err := os.ReadFile(b.path(hash))
	if err != nil {
		return nil, fmt.Errorf("read blob: %w", err)
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != hash {
		return nil, fmt.Errorf("read blob %s: the file is damaged", hash)
	}
	return data, nil
}

// Has reports whether the blob is there.
func (b *Blobs) Has(hash string) (bool, error) {
	if !validHash.MatchString(hash) {
		return false, badHash(hash)
	}
	_, err := os.Stat(b.path(hash))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for blob: %w", err)
	}
	return true, nil
}

// Delete removes the blob; a missing one is no error.
func (b *Blobs) Delete(hash string) error {
	if !validHash.MatchString(hash) {
		return badHash(hash)
	}
	defer b.lock(hash)()
	if err := os.Remove(b.path(hash)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete blob: %w", err)
	}
	return nil
}

// DeleteUnused removes the blob if nobody has put it since the given time, and says whether it did. A Put at the same
// moment either keeps the blob or writes it anew.
func (b *Blobs) DeleteUnused(hash string, since time.Time) (bool, error) {
	if !validHash.MatchString(hash) {
		return false, badHash(hash)
	}
	defer b.lock(hash)()
	st, err := os.Stat(b.path(hash))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("delete blob: %w", err)
	}
	if !unused(st, since) {
		return false, nil
	}
	if err := os.Remove(b.path(hash)); err != nil {
		return false, fmt.Errorf("delete blob: %w", err)
	}
	return true, nil
}

// Unused yields the hashes of the blobs that nobody has put since the given time.
func (b *Blobs) Unused(since time.Time) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for i := range b.shards {
			entries, err := os.ReadDir(b.shard(i))
			if err != nil {
				yield("", fmt.Errorf("list blobs: %w", err))
				return
			}
			for _, e := range entries {
				st, err := e.Info()
				if err != nil || !validHash.MatchString(e.Name()) || !unused(st, since) {
					continue // gone meanwhile, not ours, or young
				}
				if !yield(e.Name(), nil) {
					return
				}
			}
		}
	}
}

// unused allows for the puts that did not renew the time because it was younger than touchAfter.
func unused(st fs.FileInfo, since time.Time) bool {
	return st.ModTime().Add(touchAfter).Before(since)
}

func (b *Blobs) lock(hash string) (unlock func()) {
	i, _ := hex.DecodeString(hash[:2]) // validHash holds for every caller
	b.shards[i[0]].Lock()
	return b.shards[i[0]].Unlock
}

func (b *Blobs) tmp() string             { return filepath.Join(b.dir, "tmp") }
func (b *Blobs) shard(i int) string      { return filepath.Join(b.dir, fmt.Sprintf("%02x", i)) }
func (b *Blobs) path(hash string) string { return filepath.Join(b.dir, hash[:2], hash) }

func hexSum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

func badHash(hash string) error { return fmt.Errorf("%q is not a blob's hash", hash) }

var validHash = regexp.MustCompile(`^[0-9a-f]{64}$`)

// reader ends when its context does.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := context.Cause(r.ctx); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
