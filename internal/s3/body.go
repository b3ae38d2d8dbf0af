package s3

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"atoll.dev/atoll/internal/r2"
)

// The values of x-amz-content-sha256 by which the body comes in chunks:
// https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
const (
	streamSigned          = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	streamSignedTrailer   = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	streamUnsignedTrailer = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
)

// body is the content of a request. It is checked while it is read: in place of its end comes an error where it is not the
// one that was signed.
type body struct {
	r       io.Reader
	length  int64 // -1: not known
	trailer http.Header
}

func (b *body) Read(p []byte) (int, error) { return b.r.Read(p) }

func newBody(r *http.Request, s signature, key []byte) (*body, error) {
	b := &body{r: r.Body, length: r.ContentLength, trailer: http.Header{}}
	switch s.payload {
	case unsigned:
		return b, nil
	case streamSigned, streamSignedTrailer, streamUnsignedTrailer:
	default:
		if !hexSum.MatchString(s.payload) {
			return nil, invalidArgument("x-amz-content-sha256 must be %s, %s, %s, %s or the SHA-256 of the body", unsigned, streamSigned, streamSignedTrailer, streamUnsignedTrailer)
		}
		b.r = &hashed{r: r.Body, want: s.payload, sum: sha256.New()}
		return b, nil
	}
	length, err := strconv.ParseInt(r.Header.Get("X-Amz-Decoded-Content-Length"), 10, 64)
	if err != nil || length < 0 {
		return nil, &problem{http.StatusLengthRequired, "MissingContentLength", "x-amz-decoded-content-length is missing or no number"}
	}
	b.length = length
	c := &chunks{r: bufio.NewReaderSize(r.Body, 32<<10), trailer: b.trailer}
	if s.payload != streamUnsignedTrailer {
		c.signer = &chunkSigner{key: key, at: s.at, scope: s.scope(), previous: s.value, sum: sha256.New()}
	}
	c.trailed = s.payload != streamSigned
	b.r = c
	return b, nil
}

// hashed reads content whose SHA-256 was signed.
type hashed struct {
	r    io.Reader
	want string
	sum  hash.Hash
}

func (h *hashed) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	h.sum.Write(p[:n])
	if err == io.EOF && hex.EncodeToString(h.sum.Sum(nil)) != h.want {
		err = errContentHash
	}
	return n, err
}

// chunks reads content that comes in chunks, each with its size before it, and perhaps with a signature, and with headers
// behind the last.
type chunks struct {
	r       *bufio.Reader
	signer  *chunkSigner // nil: the chunks are not signed
	trailed bool
	trailer http.Header

	left      int64  // of the chunk under way
	signature string // of the chunk under way
	started   bool
	err       error
}

// The bounds of what stands between the content.
const (
	maxChunkHead = 1 << 10
	maxTrailer   = 8 << 10
)

var errChunk = &problem{http.StatusBadRequest, "InvalidRequest", "The chunks of the body are not formed as aws-chunked is."}

func (c *chunks) Read(p []byte) (int, error) {
	for c.left == 0 && c.err == nil {
		c.err = c.next()
	}
	if c.err != nil {
		return 0, c.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	if c.signer != nil {
		c.signer.sum.Write(p[:n])
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	c.err = err
	return n, err
}

// next ends a chunk and begins another; io.EOF after the last.
func (c *chunks) next() error {
	if c.started {
		if line, err := c.line(2); err != nil || len(line) > 0 {
			return broken(err)
		}
		if c.signer != nil && !c.signer.verify(c.signature) {
			return errChunkSignature
		}
	}
	c.started = true
	line, err := c.line(maxChunkHead)
	if err != nil {
		return broken(err)
	}
	size, extension, _ := strings.Cut(string(line), ";")
	n, err := strconv.ParseUint(strings.TrimSpace(size), 16, 62)
	if err != nil {
		return errChunk
	}
	c.left = int64(n)
	if c.signer != nil {
		sig, ok := strings.CutPrefix(strings.TrimSpace(extension), "chunk-signature=")
		if !ok {
			return errChunk
		}
		c.signature = sig
	}
	if n > 0 {
		return nil
	}
	return c.end()
}

// end reads what follows the last chunk, which is empty.
func (c *chunks) end() error {
	if c.signer != nil && !c.signer.verify(c.signature) {
		return errChunkSignature
	}
	var signed bytes.Buffer
	signature := ""
	for size := 0; ; {
		line, err := c.line(maxTrailer)
		if err == io.EOF {
			break // some clients leave out the last line
		}
		if err != nil {
			return broken(err)
		}
		if len(line) == 0 {
			break
		}
		if size += len(line); size > maxTrailer {
			return errChunk
		}
		name, value, ok := strings.Cut(string(line), ":")
		if !ok {
			return errChunk
		}
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		if name == "x-amz-trailer-signature" {
			signature = value
			continue
		}
		signed.WriteString(name + ":" + value + "\n")
		c.trailer.Add(name, value)
	}
	if c.signer != nil && c.trailed && !c.signer.verifyTrailer(signed.Bytes(), signature) {
		return errChunkSignature
	}
	return io.EOF
}

// line reads one line, without its end.
func (c *chunks) line(most int) ([]byte, error) {
	line, err := c.r.ReadSlice('\n')
	if err == io.EOF && len(line) > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	line = bytes.TrimSuffix(line[:len(line)-1], []byte("\r"))
	if len(line) > most {
		return nil, errChunk
	}
	return line, nil
}

// broken is the error of a body that ended, or could not be read, between two chunks.
func broken(err error) error {
	switch err {
	case io.EOF:
		return io.ErrUnexpectedEOF
	case nil, bufio.ErrBufferFull:
		return errChunk
	}
	return err
}

var errChunkSignature = &problem{http.StatusForbidden, "SignatureDoesNotMatch", "The signature of a chunk of the body is not that of its content."}

// chunkSigner computes the signatures of chunks, each of which covers the one before.
type chunkSigner struct {
	key      []byte
	at       time.Time
	scope    string
	previous string
	sum      hash.Hash
}

var emptySum = func() string { s := sha256.Sum256(nil); return hex.EncodeToString(s[:]) }()

// verify compares the signature of a chunk whose content went through sum.
func (s *chunkSigner) verify(signature string) bool {
	want := signText(s.key, strings.Join([]string{"AWS4-HMAC-SHA256-PAYLOAD", s.at.Format(amzTime), s.scope, s.previous, emptySum,
		hex.EncodeToString(s.sum.Sum(nil))}, "\n"))
	s.sum.Reset()
	s.previous = want
	return hmac.Equal([]byte(want), []byte(signature))
}

func (s *chunkSigner) verifyTrailer(text []byte, signature string) bool {
	sum := sha256.Sum256(text)
	want := signText(s.key, strings.Join([]string{"AWS4-HMAC-SHA256-TRAILER", s.at.Format(amzTime), s.scope, s.previous, hex.EncodeToString(sum[:])}, "\n"))
	return hmac.Equal([]byte(want), []byte(signature))
}

// checksums are the algorithms that S3's protocol has, by the ends of their headers' names.
var checksums = []string{"crc32", "crc32c", "crc64nvme", "sha1", "sha256"}

// sums reads the checksums that a request announces: those of its headers, and which will come in the trailer. A nil value
// stands for one that comes later.
func (c *call) sums() (map[string][]byte, error) {
	out := map[string][]byte{}
	if v := c.Header.Get("Content-Md5"); v != "" {
		if err := addSum(out, "md5", v); err != nil {
			return nil, err
		}
	}
	for _, name := range checksums {
		if v := c.Header.Get("X-Amz-Checksum-" + name); v != "" {
			if err := addSum(out, name, v); err != nil {
				return nil, err
			}
		}
	}
	for name := range strings.SplitSeq(strings.ToLower(c.Header.Get("X-Amz-Trailer")), ",") {
		name, ok := strings.CutPrefix(strings.TrimSpace(name), "x-amz-checksum-")
		if ok && out[name] == nil && contains(checksums, name) {
			out[name] = nil
		}
	}
	return out, nil
}

// late reads the checksums of the trailer, once the content was read.
func (c *call) late() (map[string][]byte, error) {
	out := map[string][]byte{}
	for _, name := range checksums {
		if v := c.body.trailer.Get("X-Amz-Checksum-" + name); v != "" {
			if err := addSum(out, name, v); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

func addSum(out map[string][]byte, name, text string) error {
	sum, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return &problem{http.StatusBadRequest, "InvalidDigest", "The checksum or Content-MD5 you specified is not valid."}
	}
	if err := r2.CheckSum(name, sum); err != nil {
		return err
	}
	out[name] = sum
	return nil
}
