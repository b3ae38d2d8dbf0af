package r2

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"

	"atoll.dev/atoll/internal/sqlite"
)

// Head returns an object without its content.
func (s *Store) Head(ctx context.Context, ref Ref, key string) (Object, error) {
	b, err := s.bucket(ref)
	if err == nil {
		err = CheckKey(key)
	}
	if err != nil {
		return Object{}, fmt.Errorf("head object: %w", err)
	}
	o, err := s.row(ctx, b, key, false)
	if err != nil {
		return Object{}, fmt.Errorf("head object: %w", err)
	}
	return o.Object, nil
}

func (s *Store) row(ctx context.Context, b *bucket, key string, body bool) (row, error) {
	columns := objectColumns
	if body {
		columns += objectBody
	}
	o, err := sqlite.One(ctx, s.db.Reads(), scanObject(body), `SELECT `+columns+` FROM objects WHERE bucket = ? AND key = ?`, b.num, []byte(key))
	if sqlite.Missing(err) {
		err = errNoKey()
	}
	return o, err
}

// Range is a stretch of an object's content.
type Range struct{ Offset, Length int64 }

// RangeRequest asks for a stretch; nil fields are not given.
type RangeRequest struct {
	Offset, Length, Suffix *int64
	Header                 string // of HTTP, in place of the others
}

// of returns the stretch of an object of that size.
func (r RangeRequest) of(size int64) (Range, error) {
	whole := Range{0, size}
	if r.Header != "" {
		if got, ok := headerRange(r.Header, size); ok {
			return got, nil
		}
		return whole, nil // what is no range that can be sent in one piece is ignored, RFC 9110, section 14.2
	}
	if r.Offset == nil && r.Length == nil && r.Suffix == nil {
		return whole, nil
	}
	out := whole
	if r.Suffix != nil {
		if *r.Suffix <= 0 {
			return Range{}, errRange()
		}
		out.Length = min(*r.Suffix, size)
		out.Offset = size - out.Length
	} else {
		if r.Offset != nil {
			out.Offset = *r.Offset
		}
		out.Length = size - out.Offset
		if r.Length != nil {
			out.Length = *r.Length
		}
	}
	if out.Offset < 0 || out.Offset > size || out.Length <= 0 {
		return Range{}, errRange()
	}
	out.Length = min(out.Length, size-out.Offset)
	return out, nil
}

// IsRange tells whether a header asks for one range of bytes, whether or not an object has it.
func IsRange(h string) bool {
	unit, spec, ok := strings.Cut(h, "=")
	first, last, ok2 := strings.Cut(spec, "-")
	if !ok || !ok2 || !strings.EqualFold(unit, "bytes") || first == "" && last == "" {
		return false
	}
	from, err := strconv.ParseUint("0"+first, 10, 63)
	to, err2 := strconv.ParseUint("0"+last, 10, 63)
	return err == nil && err2 == nil && (first == "" || last == "" || from <= to)
}

// SatisfiesRange tells whether an object of that size has the one range that a header asks for.
func SatisfiesRange(h string, size int64) bool {
	_, ok := headerRange(h, size)
	return ok
}

// headerRange reads a header of one range, such as bytes=1-2, bytes=3- or bytes=-4.
func headerRange(h string, size int64) (Range, bool) {
	unit, spec, ok := strings.Cut(h, "=")
	first, last, ok2 := strings.Cut(spec, "-")
	if !ok || !ok2 || !strings.EqualFold(strings.TrimSpace(unit), "bytes") {
		return Range{}, false
	}
	first, last = strings.TrimSpace(first), strings.TrimSpace(last)
	from, err := strconv.ParseUint(first, 10, 63)
	to, err2 := strconv.ParseUint(last, 10, 63)
	switch {
	case first == "" && err2 == nil:
		n := min(int64(to), size)
		return Range{size - n, n}, n > 0
	case err != nil || int64(from) >= size || last != "" && (err2 != nil || to < from):
		return Range{}, false
	case last == "":
		return Range{int64(from), size - int64(from)}, true
	}
	return Range{int64(from), min(int64(to)+1, size) - int64(from)}, true
}

// GetOptions say what of an object is wanted, and on what condition.
type GetOptions struct {
	Range RangeRequest
	If    *Condition
	Key   *CustomerKey
}

// Body is the content of an object, or the stretch of it that was asked for. It must be closed.
type Body struct {
	Range Range

	st      *Store
	object  row
	key     *CustomerKey
	file    *os.File
	parts   []part
	release func()
}

// Get returns an object with its content. Where the condition does not hold, the error is errPrecondition's, and the object
// is returned without content.
func (s *Store) Get(ctx context.Context, ref Ref, key string, o GetOptions) (Object, *Body, error) {
	b, err := s.bucket(ref)
	if err == nil {
		err = CheckKey(key)
	}
	if err != nil {
		return Object{}, nil, fmt.Errorf("get object: %w", err)
	}
	// An object may be replaced, and its files removed, between the look at its row and that at its file.
	for range 100 {
		obj, body, err := s.get(ctx, b, key, o)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			err = fmt.Errorf("get object: %w", err)
		}
		return obj, body, err
	}
	return Object{}, nil, errors.New("get object: its file is missing")
}

func (s *Store) get(ctx context.Context, b *bucket, key string, o GetOptions) (Object, *Body, error) {
	obj, err := s.row(ctx, b, key, true)
	if err != nil {
		return Object{}, nil, err
	}
	if !o.If.Holds(&obj.Object) {
		return obj.Object, nil, errPrecondition()
	}
	if err := o.Key.check(obj.KeySum); err != nil {
		return Object{}, nil, err
	}
	body := &Body{st: s, object: obj, key: o.Key, release: func() {}}
	if body.Range, err = o.Range.of(obj.Size); err != nil {
		return Object{}, nil, err
	}
	switch {
	case obj.file != "":
		if body.file, err = s.files.open(obj.file); err != nil {
			return Object{}, nil, err
		}
	case obj.upload != 0:
		if err := body.pin(ctx, b); err != nil {
			return Object{}, nil, err
		}
	}
	return obj.Object, body, nil
}

// pin keeps the sweep from the parts of an object, and lists them. Opening them all at once could take thousands of file
// descriptors.
func (b *Body) pin(ctx context.Context, in *bucket) error {
	b.release = b.st.pins.hold(b.object.Version)
	now, err := b.st.row(ctx, in, b.object.Key, false)
	if err == nil && now.Version != b.object.Version {
		err = fs.ErrNotExist // replaced before the pin stood: look again
	}
	if err == nil {
		b.parts, err = b.st.parts(ctx, b.object.upload)
	}
	if err != nil {
		b.release()
	}
	return err
}

// Close lets go of the content.
func (b *Body) Close() error {
	b.release()
	if b.file != nil {
		return b.file.Close()
	}
	return nil
}

// WriteTo writes the content, holding a chunk of it in memory at most.
func (b *Body) WriteTo(w io.Writer) (int64, error) {
	c := &counter{w: w}
	err := b.writeTo(c)
	return c.n, err
}

func (b *Body) writeTo(w *counter) error {
	rest := b.Range
	switch {
	case rest.Length == 0:
		return nil
	case b.file != nil:
		return b.stretch(w, b.file, b.object.salt, b.object.Size, rest)
	case b.object.upload == 0:
		return b.stretch(w, bytes.NewReader(b.object.data), b.object.salt, b.object.Size, rest)
	}
	for _, p := range b.parts {
		if rest.Length == 0 {
			break
		}
		if rest.Offset >= p.size {
			rest.Offset -= p.size
			continue
		}
		n := min(p.size-rest.Offset, rest.Length)
		if err := b.part(w, p, Range{rest.Offset, n}); err != nil {
			return err
		}
		rest.Offset, rest.Length = 0, rest.Length-n
	}
	if rest.Length > 0 {
		return fmt.Errorf("read object: %d bytes are missing", rest.Length)
	}
	return nil
}

func (b *Body) part(w *counter, p part, r Range) error {
	f, err := b.st.files.open(p.file)
	if err != nil {
		return fmt.Errorf("read object: %w", err)
	}
	defer f.Close()
	return b.stretch(w, f, p.salt, p.size, r)
}

// stretch writes a stretch of one file or of what is in memory.
func (b *Body) stretch(w *counter, from readerAt, salt []byte, size int64, r Range) error {
	if b.key != nil {
		return openRange(from, b.key.fileCipher(salt), size, r.Offset, r.Length, w)
	}
	if _, err := from.Seek(r.Offset, io.SeekStart); err != nil {
		return fmt.Errorf("read object: %w", err)
	}
	n, err := io.CopyN(w.w, from, r.Length) // to the writer itself, which can have the kernel copy a file
	w.n += n
	return err
}

type readerAt interface {
	io.ReaderAt
	io.ReadSeeker
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// pins are the versions of objects whose parts are being read.
type pins struct {
	mu   sync.Mutex
	refs map[string]int
}

func (p *pins) hold(version string) (release func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refs[version]++
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.refs[version]--; p.refs[version] == 0 {
			delete(p.refs, version)
		}
	})
}

func (p *pins) held(version string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refs[version] > 0
}
