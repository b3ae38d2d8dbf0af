package assets

import (
	"mime/multipart"
	"sync"

	"atoll.dev/atoll/internal/atoll"
)

// Session is what a client learns when it begins an upload.
type Session struct {
	Token   string     // to upload with; where nothing is missing, to deploy with
	Buckets [][]string // the hashes whose content is missing, a list for each request
}

// sessionKey names a session: whoever begins another one for the same manifest goes on with it.
type sessionKey struct {
	ref      atoll.ScriptRef
	manifest string
}

// session is an upload in progress.
type session struct {
	files manifest
	by    map[string]*wanted // by claim

	mu      sync.Mutex
	missing map[string]bool // claims
}

// cost counts a session as its files and a few.
func (s *session) cost() int { return len(s.files) + 100 }

// complete reports whether nothing is missing.
func (s *session) complete() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.missing) == 0
}

// agrees notes content that is there, and reports whether the session did not count on any that is not.
func (s *session) agrees(held map[string]atoll.AssetClaim) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for claim := range held {
		delete(s.missing, claim)
	}
	return len(held)+len(s.missing) == len(s.by)
}

// rest returns what is missing, where that is little.
func (s *session) rest() (out []wanted) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.missing) > bucketFiles {
		return nil
	}
	for claim := range s.missing {
		out = append(out, *s.by[claim])
	}
	return out
}

// have notes content that has come.
func (s *session) have(list []atoll.AssetClaim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range list {
		delete(s.missing, c.Claim)
	}
}

// find returns what a part of an upload is: most clients call both the part and its file by the hash.
func (s *session) find(part *multipart.Part) (*wanted, bool) {
	for _, name := range []string{part.FormName(), part.FileName()} {
		if w := s.by[name]; w != nil {
			return w, true
		}
	}
	return nil, false
}

// A bucket is what one request should bring: not so much that it takes long to repeat, nor so little that there are many.
const (
	bucketFiles = 200
	bucketBytes = 16 << 20
)

// buckets divides what is missing.
func (s *session) buckets() [][]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := [][]string{}
	files, bytes := 0, int64(0)
	for _, w := range s.files.claims() {
		if !s.missing[w.claim] {
			continue
		}
		if len(out) == 0 || files == bucketFiles || bytes+w.size > bucketBytes {
			out = append(out, nil)
			files, bytes = 0, 0
		}
		last := len(out) - 1
		out[last] = append(out[last], w.claim)
		files++
		bytes += w.size
	}
	return out
}
