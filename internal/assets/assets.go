// Package assets is static assets: how clients upload a site's files, and how the files are served.
//
// [Uploads] is the upload protocol of Cloudflare's API: a session for a manifest of paths and hashes, uploads of the files
// that are not there yet, and a token that a deploy redeems. [Sites] serves: a [Site] is the assets of one version, which
// decides by the version's configuration (html_handling, not_found_handling, run_worker_first, _redirects, _headers)
// what a request gets, and whether the Worker is to be asked. It is the counterpart of Cloudflare's asset Worker and
// router Worker, in Go; docs/assets.md lists where it differs. It knows neither processes nor API envelopes.
//
// # Invariants
//
// Content is stored as blobs, under its own SHA-256. A hash that a client claims for a file is never a name of content by
// itself: claims are looked up in the script's own, and in the dispatch namespace's, which are those that recompute from
// the content. So no tenant can put content under another's claim. A manifest, once resolved to blobs, is a blob too and
// does not change; a version refers to it, and serving needs nothing else.
//
// # Concurrency
//
// Uploads and Sites may be used concurrently, and a Site does not change. Content that is used often is in memory, up to a
// bound; what is not is read from its file.
package assets

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/durable"
)

// Options bound what Sites keep in memory; zero values mean the defaults.
type Options struct {
	Memory int64 // bytes of content; 64 MiB
	Files  int   // files in the lists of all sites that are ready; 500,000, about 150 bytes each
}

// Sites are the assets of the versions that are being served.
type Sites struct {
	lg    *slog.Logger
	blobs *durable.Blobs
	opts  Options
	cache *cache
	loads singleflight.Group // by version, and by file and coding

	mu    sync.RWMutex
	sites map[atoll.VersionID]*loaded
	files int // in all of them
}

// loaded is a site that is ready.
type loaded struct {
	*Site
	used atomic.Int64 // when last, in seconds
}

// maxKept is the size of the largest file that is kept in memory. Larger ones are sent from the page cache by sendfile(2),
// which is as good.
const maxKept = 512 << 10

// NewSites returns Sites over blobs.
func NewSites(lg *slog.Logger, blobs *durable.Blobs, opts Options) *Sites {
	if lg == nil {
		lg = slog.New(slog.DiscardHandler)
	}
	if opts.Memory == 0 {
		opts.Memory = 64 << 20
	}
	if opts.Files == 0 {
		opts.Files = 500_000
	}
	return &Sites{lg: lg, blobs: blobs, opts: opts, cache: newCache(opts.Memory), sites: map[atoll.VersionID]*loaded{}}
}

// Site returns the assets of a version that has some.
func (s *Sites) Site(ctx context.Context, v *atoll.Version) (*Site, error) {
	s.mu.RLock()
	l := s.sites[v.ID]
	s.mu.RUnlock()
	if l != nil {
		if now := time.Now().Unix(); l.used.Load() != now {
			l.used.Store(now)
		}
		return l.Site, nil
	}
	site, err, _ := s.loads.Do(string(v.ID), func() (any, error) { return s.load(v) })
	if err != nil {
		return nil, fmt.Errorf("load assets of version %s: %w", v.ID, err)
	}
	return site.(*Site), nil
}

func (s *Sites) load(v *atoll.Version) (*Site, error) {
	conf, _, err := compile(v)
	if err != nil {
		return nil, err
	}
	list, err := readList(s.blobs, v.Assets.Manifest)
	if err != nil {
		return nil, err
	}
	site := &Site{config: conf, store: s, files: make(map[string]*file, len(list))}
	types := map[string][]string{}
	for _, e := range list {
		if types[e.Type] == nil && e.Type != "" {
			types[e.Type] = []string{e.Type}
		}
		site.files[e.Path] = &file{hash: e.Blob, size: e.Size, mime: types[e.Type], etag: []string{`"` + e.Blob[:32] + `"`},
			pack: e.Size >= minPack && e.Size <= maxPack && packs(e.Type)}
	}
	l := &loaded{Site: site}
	l.used.Store(time.Now().Unix())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sites[v.ID] == nil {
		s.sites[v.ID] = l
		s.files += l.cost()
	}
	for s.files > s.opts.Files && len(s.sites) > 1 {
		s.forgetLocked(s.oldestLocked(v.ID))
	}
	return site, nil
}

// Forget drops the site of a version that is not served any more.
func (s *Sites) Forget(id atoll.VersionID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetLocked(id)
}

func (s *Sites) forgetLocked(id atoll.VersionID) {
	if l := s.sites[id]; l != nil {
		s.files -= l.cost()
		delete(s.sites, id)
	}
}

// oldestLocked returns the version whose site was used least recently, other than that of keep.
func (s *Sites) oldestLocked(keep atoll.VersionID) (oldest atoll.VersionID) {
	least := int64(math.MaxInt64)
	for id, l := range s.sites {
		if used := l.used.Load(); id != keep && used < least {
			least, oldest = used, id
		}
	}
	return oldest
}

// cost counts a site as its files and a few for its rules.
func (l *loaded) cost() int { return len(l.Site.files) + 20 }

// open returns an answer with a file's content, and whether it was in memory.
func (s *Sites) open(f *file) (a *Answer, hit bool, err error) {
	if f.size > maxKept {
		file, err := s.blobs.Open(f.hash)
		if err != nil {
			return nil, false, fmt.Errorf("open asset: %w", err)
		}
		return &Answer{Size: f.size, file: file}, false, nil
	}
	data, hit := s.cache.get(f.hash, plain)
	if !hit {
		read, err, _ := s.loads.Do(f.hash, func() (any, error) {
			data, err := s.blobs.Read(f.hash)
			if err == nil {
				s.cache.put(f.hash, plain, data)
			}
			return data, err
		})
		if err != nil {
			return nil, false, fmt.Errorf("read asset: %w", err)
		}
		data = read.([]byte)
	}
	return &Answer{Size: f.size, data: data}, hit, nil
}

// packed returns a file's content in a coding, nil where that gains nothing.
func (s *Sites) packed(f *file, c coding) ([]byte, error) {
	if data, ok := s.cache.get(f.hash, c); ok {
		return data, nil
	}
	out, err, _ := s.loads.Do(f.hash+codingNames[c], func() (any, error) {
		data, ok := s.cache.get(f.hash, plain)
		if !ok {
			var err error
			if data, err = s.blobs.Read(f.hash); err != nil {
				return nil, fmt.Errorf("read asset: %w", err)
			}
		}
		out, err := pack(data, c)
		if err != nil {
			return nil, fmt.Errorf("compress asset: %w", err)
		}
		if int64(len(out)) > s.opts.Memory/8 {
			out = nil // to compress it for each request would cost more than it gains
		}
		s.cache.put(f.hash, c, out)
		return out, nil
	})
	if err != nil {
		return nil, err
	}
	return out.([]byte), nil
}

// entry is one file of a resolved manifest: the list that a version refers to.
type entry struct {
	Path string `json:"p"`
	Blob string `json:"b"` // SHA-256 of the content, hex
	Size int64  `json:"s"`
	Type string `json:"t,omitempty"` // the value of Content-Type; empty: none
}

// readList reads a resolved manifest.
func readList(blobs *durable.Blobs, hash string) ([]entry, error) {
	data, err := blobs.Read(hash)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("the list of files %s is missing: %w", hash, err)
		}
		return nil, err
	}
	return decodeList(data)
}

var errList = errors.New("the list of files is damaged")

func validBlob(hash string) bool {
	_, err := hex.DecodeString(hash)
	return len(hash) == 64 && err == nil
}
