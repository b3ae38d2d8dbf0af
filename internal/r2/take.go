package r2

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sync"

	"atoll.dev/atoll/internal/fault"
)

// maxInline is the size up to which content is kept beside its metadata: that costs one wait for the disk, which other
// writes share, where a file costs three. SQLite reads such a value faster than a file, https://sqlite.org/intern-v-extern-blob.html
const maxInline = 64 << 10

// content is what an upload brought, on disk or in memory, before a row names it.
type content struct {
	size int64
	data []byte
	file string
	salt []byte
	md5  []byte
	sums Sums
}

// take reads what is to be stored: up to inline bytes into memory, more into a file.
func (s *Store) take(ctx context.Context, res *reservation, body io.Reader, o PutOptions, inline int) (*content, error) {
	in := &bounded{r: reader{ctx, body}, res: res}
	d := newDigest(slices.Collect(maps.Keys(o.Sums))...)
	size := inline + 1
	if o.Length >= 0 && o.Length < int64(inline) {
		size = int(o.Length) + 1
	}
	head := make([]byte, size)
	n, err := readFull(in, head)
	if err != nil && err != io.EOF {
		return nil, incomplete(err)
	}
	c := &content{}
	if err == io.EOF && inline > 0 {
		var b bytes.Buffer
		if err := c.write(&b, d, head[:n], eof{}, o.Key); err != nil {
			return nil, err
		}
		c.data = b.Bytes()
	} else if err := s.takeFile(c, d, head[:n], in, o.Key); err != nil {
		return nil, incomplete(err)
	}
	c.size = in.read
	if err := c.verify(d, o); err != nil {
		if c.file != "" {
			s.discard(c.file)
		}
		return nil, err
	}
	return c, nil
}

// takeFile writes head and the rest of in to a file, which is durable when it returns.
func (s *Store) takeFile(c *content, d *digest, head []byte, in io.Reader, key *CustomerKey) error {
	f, name, err := s.files.create()
	if err != nil {
		return err
	}
	defer f.Close()
	if err = c.write(f, d, head, in, key); err == nil {
		err = s.files.finish(f, name)
	}
	if err != nil {
		s.discard(name)
		return noSpace(err)
	}
	c.file = name
	return nil
}

var buffers = sync.Pool{New: func() any { return new([256 << 10]byte) }}

// write sums up and writes head and the rest of in to w, sealed where there is a key.
func (c *content) write(w io.Writer, d *digest, head []byte, in io.Reader, key *CustomerKey) error {
	to, finish := io.MultiWriter(w, d), func() error { return nil }
	sealed := md5.New()
	if key != nil {
		c.salt = newSalt()
		sealer := newSealer(io.MultiWriter(w, sealed), key.fileCipher(c.salt))
		to, finish = io.MultiWriter(sealer, d), sealer.Close
	}
	if _, err := to.Write(head); err != nil {
		return err
	}
	buf := buffers.Get().(*[256 << 10]byte)
	defer buffers.Put(buf)
	if _, err := io.CopyBuffer(to, struct{ io.Reader }{in}, buf[:]); err != nil {
		return err
	}
	if err := finish(); err != nil {
		return err
	}
	c.md5 = d.sum("md5")
	if key != nil {
		c.md5 = sealed.Sum(nil) // that of the content would tell of it without the key
	}
	return nil
}

// verify compares what came with what was announced, before it and after.
func (c *content) verify(d *digest, o PutOptions) error {
	if o.Length >= 0 && c.size != o.Length {
		return errIncomplete()
	}
	want := maps.Clone(o.Sums)
	if o.Announced != nil {
		late, err := o.Announced()
		if err != nil {
			return err
		}
		maps.Copy(want, late)
	}
	var err error
	if c.sums, err = d.verify(want); err == nil && o.Key == nil {
		c.sums["md5"] = hex.EncodeToString(c.md5)
	}
	return err
}

// discard removes a file that no row names.
func (s *Store) discard(file string) {
	if err := s.files.remove(file); err != nil {
		s.lg.Error("cannot remove an object that was not stored", "err", err)
	}
	s.files.release(file)
}

func errIncomplete() error {
	return fault.New(fault.Invalid, CodeIncomplete, "The request body terminated before it had the length that was announced.")
}

// incomplete makes a fault of a body that broke off.
func incomplete(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("%w: %w", errIncomplete(), err)
	}
	return err
}

// readFull reads until b is full or the reader ends, and returns the reader's own error: io.ReadFull has
// io.ErrUnexpectedEOF for a content that is short, and so has net/http for a body that broke off, of which nothing may be
// kept.
func readFull(r io.Reader, b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var m int
		m, err = r.Read(b[n:])
		n += m
	}
	return n, err
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// reader stops when the context does.
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
