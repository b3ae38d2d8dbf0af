package assets

import (
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/zeebo/blake3"
)

// minShared is how many hexadecimal digits a claim needs to be shared: with fewer, content for another's claim could be
// searched for.
const minShared = 32

// recomputes reports whether a claim follows from the content alone, in one of the ways that clients compute it: the
// beginning of its SHA-256, or of wrangler's hash for one of the paths. Only such a claim means the same to everyone.
func recomputes(claim, sha256 string, content []byte, paths []string) bool {
	if claim = strings.ToLower(claim); len(claim) < minShared {
		return false
	}
	if strings.HasPrefix(sha256, claim) {
		return true
	}
	var tried []string
	for _, p := range paths {
		ext := extension(p)
		if slices.Contains(tried, ext) {
			continue
		}
		tried = append(tried, ext)
		if strings.HasPrefix(wranglerHash(content, ext), claim) {
			return true
		}
	}
	return false
}

// wranglerHash is what wrangler calls a file's content: the BLAKE3 of its base64 and its extension.
func wranglerHash(content []byte, ext string) string {
	h := blake3.New()
	w := base64.NewEncoder(base64.StdEncoding, h)
	w.Write(content) // hashes do not fail
	w.Close()
	h.Write([]byte(ext))
	return hex.EncodeToString(h.Sum(nil))
}

// extension is what follows the last dot of a file's name, unless that begins it (Node's path.extname, without the dot).
func extension(path string) string {
	name := path[strings.LastIndexByte(path, '/')+1:]
	if i := strings.LastIndexByte(name, '.'); i > 0 {
		return name[i+1:]
	}
	return ""
}
