package durable

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"atoll.dev/atoll/internal/fault"
)

const helloHash = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824" // SHA-256 of "hello"

func TestBlobsPut(t *testing.T) {
	b := open(t, t.TempDir())
	puts := map[string]func() (string, error){
		"put": func() (string, error) {
			h, n, err := b.Put(t.Context(), iotest.OneByteReader(strings.NewReader("hello")))
			if n != 5 {
				t.Errorf("size %d, want 5", n)
			}
			return h, err
		},
		"put-bytes": func() (string, error) { return b.PutBytes(t.Context(), []byte("hello")) },
		"put-as": func() (string, error) {
			_, err := b.PutAs(t.Context(), helloHash, strings.NewReader("hello"))
			return helloHash, err
		},
	}
	for name, put := range puts {
		t.Run(name, func(t *testing.T) {
			if err := b.Delete(helloHash); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if h, err := put(); h != helloHash || err != nil {
					t.Fatalf("put: %s, %v", h, err)
				}
			}
			if data, err := b.Read(helloHash); string(data) != "hello" || err != nil {
				t.Errorf("read: %q, %v", data, err)
			}
			f, err := b.Open(helloHash)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if data, err := io.ReadAll(f); string(data) != "hello" || err != nil {
				t.Errorf("open: %q, %v", data, err)
			}
			if ok, err := b.Has(helloHash); !ok || err != nil {
				t.Errorf("has: %v, %v", ok, err)
			}
		})
	}
	empty(t, b.tmp())
}

func TestBlobsMissing(t *testing.T) {
	b := open(t, t.TempDir())
	if _, err := b.Open(helloHash); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open: %v", err)
	}
	if _, err := b.Read(helloHash); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("read: %v", err)
	}
	if ok, err := b.Has(helloHash); ok || err != nil {
		t.Errorf("has: %v, %v", ok, err)
	}
	if err := b.Delete(helloHash); err != nil {
		t.Errorf("delete: %v", err)
	}
	if ok, err := b.DeleteUnused(helloHash, time.Now()); ok || err != nil {
		t.Errorf("delete unused: %v, %v", ok, err)
	}
}

func TestBlobsRefuseWhatIsNoHash(t *testing.T) {
	b := open(t, t.TempDir())
	for _, h := range []string{"", "..", "../../etc/passwd", strings.ToUpper(helloHash), helloHash + "\n", helloHash[:63] + "/"} {
		_, openErr := b.Open(h)
		_, readErr := b.Read(h)
		_, hasErr := b.Has(h)
		_, putErr := b.PutAs(t.Context(), h, strings.NewReader(""))
		_, unusedErr := b.DeleteUnused(h, time.Now())
		for _, err := range []error{openErr, readErr, hasErr, putErr, unusedErr, b.Delete(h)} {
			if err == nil || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%q: %v", h, err)
			}
		}
	}
}

func TestBlobsFailedPutStoresNothing(t *testing.T) {
	b := open(t, t.TempDir())
	if _, err := b.PutAs(t.Context(), helloHash, strings.NewReader("other")); fault.KindOf(err) != fault.Invalid {
		t.Errorf("wrong content: %v", err)
	}
	broken := io.MultiReader(strings.NewReader("he"), iotest.ErrReader(io.ErrUnexpectedEOF))
	if _, _, err := b.Put(t.Context(), broken); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("broken reader: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("client went away")
	cancel(gone)
	if _, _, err := b.Put(ctx, strings.NewReader("hello")); !errors.Is(err, gone) {
		t.Errorf("cancelled: %v", err)
	}
	for h := range b.Unused(time.Now().Add(time.Hour)) {
		t.Errorf("stored %s", h)
	}
	empty(t, b.tmp())
}

func TestBlobsReopen(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	if _, err := b.PutBytes(t.Context(), []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.tmp(), "put-1"), []byte("hel"), 0o600); err != nil {
		t.Fatal(err)
	}
	b = open(t, dir)
	empty(t, b.tmp())
	if data, err := b.Read(helloHash); string(data) != "hello" || err != nil {
		t.Errorf("read: %q, %v", data, err)
	}
}

func TestBlobsDamage(t *testing.T) {
	b := open(t, t.TempDir())
	if _, err := b.PutBytes(t.Context(), []byte("hello")); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"hell", "hellO"} {
		if err := os.WriteFile(b.path(helloHash), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Read(helloHash); err == nil {
			t.Errorf("read %q as if it were whole", bad)
		}
	}
	if err := os.Truncate(b.path(helloHash), 2); err != nil {
		t.Fatal(err)
	}
	if _, err := b.PutBytes(t.Context(), []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if data, err := b.Read(helloHash); string(data) != "hello" || err != nil {
		t.Errorf("not mended by the next put: %q, %v", data, err)
	}
}

func TestBlobsConcurrentPutAndDelete(t *testing.T) {
	b := open(t, t.TempDir())
	content := func(i int) []byte { return bytes.Repeat([]byte{byte('a' + i)}, 1000+i) }
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for n := range 40 {
				data := content((n + w) % 4)
				h, err := b.PutBytes(t.Context(), data)
				if n%2 == 0 {
					h, _, err = b.Put(t.Context(), bytes.NewReader(data))
				}
				if err != nil {
					t.Error(err)
				}
				// What was put a moment ago is in use, so no collector may take it away.
				if _, err := b.DeleteUnused(h, time.Now()); err != nil {
					t.Error(err)
				}
				if got, err := b.Read(h); !bytes.Equal(got, data) || err != nil {
					t.Errorf("read after put: %d bytes, %v", len(got), err)
				}
			}
		})
	}
	wg.Wait()
	empty(t, b.tmp())
}

func TestBlobsUnused(t *testing.T) {
	b := open(t, t.TempDir())
	old := time.Now().Add(-2 * time.Hour)
	hashes := map[string]bool{}
	for i := range 3 {
		h, err := b.PutBytes(t.Context(), fmt.Append(nil, "blob", i))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(b.path(h), old, old); err != nil {
			t.Fatal(err)
		}
		hashes[h] = true
	}
	renewed, err := b.PutBytes(t.Context(), []byte("blob1"))
	if err != nil {
		t.Fatal(err)
	}
	since := time.Now().Add(-time.Hour)
	n := 0
	for h, err := range b.Unused(since) {
		if err != nil {
			t.Fatal(err)
		}
		if !hashes[h] || h == renewed {
			t.Errorf("%s is not unused", h)
		}
		if ok, err := b.DeleteUnused(h, since); !ok || err != nil {
			t.Errorf("delete unused: %v, %v", ok, err)
		}
		n++
	}
	if n != 2 {
		t.Errorf("%d unused blobs, want 2", n)
	}
	if ok, err := b.DeleteUnused(renewed, since); ok || err != nil {
		t.Errorf("deleted a blob that was put again: %v", err)
	}
	for range b.Unused(time.Now().Add(time.Hour)) {
		return // stopping early is fine
	}
	t.Error("the renewed blob is gone")
}

func open(t *testing.T, dir string) *Blobs {
	t.Helper()
	b, err := OpenBlobs(filepath.Join(dir, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func empty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) > 0 {
		t.Errorf("%s holds %v", dir, entries)
	}
}
