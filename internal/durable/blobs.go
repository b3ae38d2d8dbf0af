package durable

import (
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"time"
)

// Blobs is a directory of immutable files named by the SHA-256 of their content.
type Blobs struct{ dir string }

// OpenBlobs opens the store in dir, makes it where it is missing, and removes what unfinished writes left behind.
func OpenBlobs(dir string) (*Blobs, error) { return nil, errors.ErrUnsupported }

// Put stores what r yields and returns its hash (lower-case hex) and size.
func (b *Blobs) Put(ctx context.Context, r io.Reader) (hash string, size int64, err error) {
	return "", 0, errors.ErrUnsupported
}

// PutBytes is Put of bytes at hand. Content that is already stored costs one look at the directory.
func (b *Blobs) PutBytes(ctx context.Context, data []byte) (hash string, err error) {
	return "", errors.ErrUnsupported
}

// PutAs is Put of content whose hash is known; other content is refused and not stored.
func (b *Blobs) PutAs(ctx context.Context, hash string, r io.Reader) (size int64, err error) {
	return 0, errors.ErrUnsupported
}

// Open returns the blob for reading; the error of a missing one is fs.ErrNotExist.
func (b *Blobs) Open(hash string) (*os.File, error) { return nil, errors.ErrUnsupported }

// Read returns the whole blob, checked against its hash.
func (b *Blobs) Read(hash string) ([]byte, error) { return nil, errors.ErrUnsupported }

// Has reports whether the blob is there.
func (b *Blobs) Has(hash string) (bool, error) { return false, errors.ErrUnsupported }

// Delete removes the blob; a missing one is no error.
func (b *Blobs) Delete(hash string) error { return errors.ErrUnsupported }

// DeleteUnused removes the blob if nobody has put it since the given time.
func (b *Blobs) DeleteUnused(hash string, since time.Time) (bool, error) {
	return false, errors.ErrUnsupported
}

// Unused yields the hashes of blobs that nobody has put since the given time.
func (b *Blobs) Unused(since time.Time) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {}
}
