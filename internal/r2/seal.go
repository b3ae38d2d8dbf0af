package r2

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"

	"atoll.dev/atoll/internal/fault"
)

// CustomerKey is a key that the customer brings with each request and the node never stores:
// https://developers.cloudflare.com/r2/examples/ssec/
type CustomerKey [32]byte

// Sum identifies a key: the base64 of its MD5, as in S3's protocol.
func (k *CustomerKey) Sum() string {
	if k == nil {
		return ""
	}
	sum := md5.Sum(k[:])
	return base64.StdEncoding.EncodeToString(sum[:])
}

// check compares a key that was sent with that of an object or an upload.
func (k *CustomerKey) check(keysum string) error {
	switch {
	case keysum == k.Sum():
		return nil
	case keysum == "":
		return errArgument("The encryption parameters are not applicable to this object.")
	case k == nil:
		return errArgument("The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.")
	}
	return fault.New(fault.Forbidden, CodeForbidden, "The encryption key is not the one that the object was stored with.")
}

// Sealed content is a sequence of chunks, each encrypted by AES-256-GCM with a key that is the file's own, so that a counter
// suffices for a nonce. The last chunk is marked, so that a file cut short does not pass for whole; a range is read from
// the chunk it begins in.
const (
	chunkSize = 64 << 10
	tagSize   = 16
	saltSize  = 16
)

func newSalt() []byte {
	salt := make([]byte, saltSize)
	rand.Read(salt)
	return salt
}

// fileCipher is the cipher of one file.
func (k *CustomerKey) fileCipher(salt []byte) cipher.AEAD {
	mac := hmac.New(sha256.New, k[:])
	mac.Write([]byte("atoll r2 object\x00"))
	mac.Write(salt)
	block, err := aes.NewCipher(mac.Sum(nil))
	if err == nil {
		var aead cipher.AEAD
		if aead, err = cipher.NewGCM(block); err == nil {
			return aead
		}
	}
	panic(err) // the key has 32 bytes
}

func nonce(chunk int64, last bool) []byte {
	b := make([]byte, 12)
	binary.BigEndian.PutUint64(b[3:], uint64(chunk))
	if last {
		b[11] = 1
	}
	return b
}

// sealer encrypts what is written. Close writes the last chunk.
type sealer struct {
	w    io.Writer
	aead cipher.AEAD
	buf  []byte
	n    int64
}

func newSealer(w io.Writer, aead cipher.AEAD) *sealer {
	return &sealer{w: w, aead: aead, buf: make([]byte, 0, chunkSize+tagSize)}
}

func (s *sealer) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		if len(s.buf) == chunkSize {
			if err := s.flush(false); err != nil {
				return written, err
			}
		}
		n := min(chunkSize-len(s.buf), len(p))
		s.buf = append(s.buf, p[:n]...)
		p = p[n:]
		written += n
	}
	return written, nil
}

func (s *sealer) flush(last bool) error {
	sealed := s.aead.Seal(s.buf[:0], nonce(s.n, last), s.buf, nil)
	s.n++
	_, err := s.w.Write(sealed)
	s.buf = s.buf[:0]
	return err
}

func (s *sealer) Close() error { return s.flush(true) }

// openRange decrypts length bytes from offset on of content that has size bytes in clear.
func openRange(r io.ReaderAt, aead cipher.AEAD, size, offset, length int64, w io.Writer) error {
	last := max(size-1, 0) / chunkSize
	buf := make([]byte, chunkSize+tagSize)
	for chunk := offset / chunkSize; length > 0; chunk++ {
		in := int64(chunkSize)
		if chunk == last {
			in = size - last*chunkSize
		}
		sealed := buf[:in+tagSize]
		if _, err := r.ReadAt(sealed, chunk*(chunkSize+tagSize)); err != nil {
			return fmt.Errorf("read sealed object: %w", err)
		}
		clear, err := aead.Open(sealed[:0], nonce(chunk, chunk == last), sealed, nil)
		if err != nil {
			return fmt.Errorf("open sealed object: %w", err)
		}
		from := offset - chunk*chunkSize
		n := min(int64(len(clear))-from, length)
		if _, err := w.Write(clear[from : from+n]); err != nil {
			return err
		}
		offset += n
		length -= n
	}
	return nil
}
