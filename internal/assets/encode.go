package assets

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Codings says which content codings (RFC 9110, section 8.4.1) whoever relays a response to the client can handle.
type Codings int

const (
	Identity Codings = iota // none
	Gzip                    // those that workerd undoes where a Worker reads the body
	All                     // gzip and zstd
)

// coding is the form in which a file is kept in memory.
type coding int

const (
	plain coding = iota
	gzipped
	zstandard
)

var codingNames = [...]string{plain: "", gzipped: "gzip", zstandard: "zstd"}

// The files that are worth compressing have a type that compresses, and a size from minPack to maxPack.
const (
	minPack = 512
	maxPack = 8 << 20
)

// packs reports whether content of a type compresses.
func packs(mime string) bool {
	before, _, _ := strings.Cut(mime, ";")
	before = strings.ToLower(strings.TrimSpace(before))
	if strings.HasPrefix(before, "text/") || strings.HasSuffix(before, "+xml") || strings.HasSuffix(before, "+json") {
		return true
	}
	switch before {
	case "application/javascript", "application/json", "application/xml", "application/wasm", "application/x-javascript",
		"application/ld+json", "application/graphql", "application/rtf", "application/vnd.ms-fontobject", "font/ttf", "font/otf",
		"application/x-font-ttf", "image/bmp", "image/x-icon", "image/vnd.microsoft.icon":
		return true
	}
	return false
}

// encode replaces the body by a compressed form of it, where that is of use and the client takes it.
func (s *Sites) encode(a *Answer, f *file, p *parsed, h http.Header) (*Answer, error) {
	if p.Codings == Identity || !f.pack || has(h, "Content-Encoding") || a.file == nil && len(a.data) < minPack {
		return a, nil
	}
	for _, v := range h["Cache-Control"] {
		if strings.Contains(v, "no-transform") {
			return a, nil
		}
	}
	h["Vary"] = append(h["Vary"], "Accept-Encoding")
	c := accepted(p.Header["Accept-Encoding"], p.Codings)
	if c == plain || has(p.Header, "Range") {
		return a, nil
	}
	packed, err := s.packed(f, c)
	if err != nil || packed == nil {
		return a, err
	}
	a.Close()
	h["Content-Encoding"] = []string{codingNames[c]}
	h["Etag"] = []string{"W/" + f.etag[0]} // other bytes, same meaning
	delete(h, "Accept-Ranges")
	return &Answer{Status: a.Status, Size: int64(len(packed)), data: packed, noBody: a.noBody}, nil
}

// accepted chooses a coding by an Accept-Encoding header (RFC 9110, section 12.5.3). Of those the client wants equally,
// zstd is the better.
func accepted(header []string, can Codings) coding {
	best, most := plain, 0.0
	for _, line := range header {
		for item := range strings.SplitSeq(line, ",") {
			name, params, _ := strings.Cut(item, ";")
			q := 1.0
			if v, ok := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q="); ok {
				f, err := strconv.ParseFloat(v, 64)
				if err != nil {
					continue
				}
				q = f
			}
			c := plain
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "gzip", "x-gzip":
				c = gzipped
			case "zstd":
				c = zstandard
			}
			if c == plain || c == zstandard && can != All || q <= 0 {
				continue
			}
			if q > most || q == most && c > best {
				best, most = c, q
			}
		}
	}
	return best
}

// pack returns data in a coding, or nil where that gains nothing.
func pack(data []byte, c coding) ([]byte, error) {
	var out []byte
	switch c {
	case gzipped:
		var b bytes.Buffer
		w, err := gzip.NewWriterLevel(&b, 6)
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(data); err != nil {
			return nil, err
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
		out = b.Bytes()
	case zstandard:
		w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
		if err != nil {
			return nil, err
		}
		out = w.EncodeAll(data, nil)
		w.Close()
	}
	if len(out) >= len(data) {
		return nil, nil
	}
	return bytes.Clone(out), nil // without the room that growing left
}
