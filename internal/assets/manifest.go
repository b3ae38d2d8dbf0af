package assets

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"atoll.dev/atoll/internal/fault"
)

// The limits of Cloudflare's paid plans, https://developers.cloudflare.com/workers/platform/limits/#static-assets
const (
	MaxFiles = 100_000  // in one manifest
	MaxFile  = 25 << 20 // bytes of one file
	maxPath  = 4096     // bytes of a path
	// MaxManifest bounds the JSON of a manifest: what MaxFiles with long paths take.
	MaxManifest = 32 << 20
)

// manifest is what a client wants to deploy: the files' paths, what it calls their content, and their sizes.
type manifest map[string]claimed

// claimed is a file as a client announces it. The hash is whatever the client has computed, and is not taken at its word.
type claimed struct {
	Hash string `json:"hash"`
	Size int64  `json:"size"`
}

// claimForm is what a claimed hash looks like: wrangler and most clients send 32 hexadecimal digits, some other numbers.
var claimForm = regexp.MustCompile(`^[0-9a-fA-F]{16,128}$`)

// parseManifest reads and checks the body of assets-upload-session.
func parseManifest(body []byte) (manifest, error) {
	var in struct {
		Manifest json.RawMessage `json:"manifest"`
	}
	if json.Unmarshal(body, &in) != nil {
		return nil, errManifest
	}
	d := json.NewDecoder(bytes.NewReader(in.Manifest))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil, errManifest
	}
	m, sizes := manifest{}, map[string]int64{}
	for d.More() { // one by one, so that too many are not held at all
		key, err := d.Token()
		if err != nil {
			return nil, errManifest
		}
		path, _ := key.(string) // the key of an object
		c, err := parseClaimed(d, path)
		if err != nil {
			return nil, err
		}
		if size, again := sizes[c.Hash]; again && size != c.Size {
			return nil, fault.Newf(fault.Invalid, 10021, "the manifest has files of the hash %s with different sizes", c.Hash)
		}
		m[path], sizes[c.Hash] = c, c.Size
		if len(m) > MaxFiles {
			return nil, fault.Newf(fault.Invalid, 10021, "the manifest has too many files: at most %d are allowed", MaxFiles)
		}
	}
	return m, nil
}

var errManifest = fault.New(fault.Invalid, 10021, `the body must be {"manifest": {"/path": {"hash": "...", "size": 1}}}`)

// parseClaimed reads what the manifest says of the file at path.
func parseClaimed(d *json.Decoder, path string) (claimed, error) {
	var f struct {
		Hash *string      `json:"hash"`
		Size *json.Number `json:"size"`
	}
	if err := d.Decode(&f); err != nil {
		return claimed{}, errManifest
	}
	if why := wrongPath(path); why != "" {
		return claimed{}, fault.Newf(fault.Invalid, 10021, "the manifest's path %q %s", shorten(path), why)
	}
	if f.Hash == nil || !claimForm.MatchString(*f.Hash) {
		return claimed{}, fault.Newf(fault.Invalid, 10021, "the manifest's hash of %q must be 16 to 128 hexadecimal digits", shorten(path))
	}
	size := int64(-1)
	if f.Size != nil {
		if n, err := f.Size.Int64(); err == nil {
			size = n
		}
	}
	switch {
	case size < 0:
		return claimed{}, fault.Newf(fault.Invalid, 10021, "the manifest's size of %q must be a number of bytes", shorten(path))
	case size > MaxFile:
		return claimed{}, fault.Newf(fault.TooLarge, 10021, "Asset too large. The file %q has %d bytes: at most 25 MiB are allowed", shorten(path), size)
	}
	return claimed{*f.Hash, size}, nil
}

func wrongPath(p string) string {
	switch {
	case !strings.HasPrefix(p, "/"):
		return "must begin with a slash"
	case len(p) > maxPath:
		return fmt.Sprintf("is longer than %d bytes", maxPath)
	case !utf8.ValidString(p):
		return "must be UTF-8"
	case strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "must not have control characters"
	}
	return ""
}

func shorten(s string) string {
	if len(s) > 200 {
		return s[:200] + "..."
	}
	return s
}

// encode returns the one JSON form of the manifest, by which sessions for the same one are the same.
func (m manifest) encode() []byte {
	b, err := json.Marshal(m) // with sorted keys
	if err != nil {
		panic(err) // strings and numbers
	}
	return b
}

// decodeManifest reads what encode wrote.
func decodeManifest(data []byte) (manifest, error) {
	var m manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	return m, nil
}

// claims returns the manifest's distinct hashes in order, each with a size and the paths it is for.
func (m manifest) claims() []wanted {
	by := make(map[string]*wanted, len(m))
	for path, c := range m {
		w := by[c.Hash]
		if w == nil {
			w = &wanted{claim: c.Hash, size: c.Size}
			by[c.Hash] = w
		}
		w.paths = append(w.paths, path)
	}
	out := make([]wanted, 0, len(by))
	for _, w := range by {
		slices.Sort(w.paths)
		out = append(out, *w)
	}
	slices.SortFunc(out, func(a, b wanted) int { return cmp.Compare(a.paths[0], b.paths[0]) })
	return out
}

// wanted is content that a manifest asks for.
type wanted struct {
	claim string
	size  int64
	paths []string
}

// encodeList returns the one form of a resolved manifest.
func encodeList(list []entry) []byte {
	slices.SortFunc(list, func(a, b entry) int { return cmp.Compare(a.Path, b.Path) })
	b, err := json.Marshal(list)
	if err != nil {
		panic(err) // strings and numbers
	}
	return b
}

func decodeList(data []byte) ([]entry, error) {
	var list []entry
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("%w: %w", errList, err)
	}
	for _, e := range list {
		if !validBlob(e.Blob) || e.Size < 0 {
			return nil, fmt.Errorf("%w at %q", errList, e.Path)
		}
	}
	return list, nil
}
