package assets

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/durable"
	"atoll.dev/atoll/internal/fault"
)

// Grace is how long content that nothing refers to has to be kept after it was last put: an upload session may use it for
// an hour, and then a deploy for another.
const Grace = 2*tokenLife + 10*time.Minute

// Store keeps what clients call content, and knows the dispatch namespaces.
type Store interface {
	// AssetClaims looks claims up, in those of the script and in those of its whole namespace.
	AssetClaims(ctx context.Context, ref atoll.ScriptRef, claims []string) (own, shared map[string]atoll.AssetClaim, err error)
	PutAssetClaims(ctx context.Context, ref atoll.ScriptRef, own, shared []atoll.AssetClaim) error
	Namespace(ctx context.Context, account atoll.AccountID, name atoll.NamespaceName) (atoll.Namespace, error)
}

// Uploads is the upload protocol: https://developers.cloudflare.com/workers/static-assets/direct-upload/
type Uploads struct {
	lg     *slog.Logger
	store  Store
	blobs  *durable.Blobs
	key    []byte // signs tokens
	now    func() time.Time
	memory *semaphore.Weighted // bytes of files being received

	mu       sync.Mutex
	sessions map[sessionKey]*session
	recent   []sessionKey // the order in which they were made
	files    int          // in all of them
}

// maxMemory is how many bytes of files are held while they are received, by all requests together; maxRemembered how many
// files the sessions have that are remembered. One that was forgotten is read again.
const (
	maxMemory     = 128 << 20
	maxRemembered = 2 * MaxFiles
)

// NewUploads returns Uploads whose tokens are signed with key, which must stay the same from start to start. A nil now is
// time.Now.
func NewUploads(lg *slog.Logger, db Store, blobs *durable.Blobs, key []byte, now func() time.Time) *Uploads {
	if lg == nil {
		lg = slog.New(slog.DiscardHandler)
	}
	if now == nil {
		now = time.Now
	}
	return &Uploads{lg: lg, store: db, blobs: blobs, key: key, now: now, memory: semaphore.NewWeighted(maxMemory), sessions: map[sessionKey]*session{}}
}

// Open begins an upload of the files that a manifest names, for a script that need not exist yet. body is the JSON of the
// request.
func (u *Uploads) Open(ctx context.Context, ref atoll.ScriptRef, body []byte) (Session, error) {
	m, err := parseManifest(body)
	if err != nil {
		return Session{}, err
	}
	hash, err := u.blobs.PutBytes(ctx, m.encode())
	if err != nil {
		return Session{}, fmt.Errorf("open upload session of %s: %w", ref, err)
	}
	c := &claims{Account: string(ref.Account), Namespace: string(ref.Namespace), Script: string(ref.Name), Manifest: hash, Files: len(m)}
	if ref.Namespace != "" {
		ns, err := u.store.Namespace(ctx, ref.Account, ref.Namespace)
		if err != nil {
			return Session{}, fmt.Errorf("open upload session of %s: %w", ref, err)
		}
		c.NamespaceID = ns.ID
	}
	s, err := u.begin(ctx, ref, hash, m)
	if err != nil {
		return Session{}, fmt.Errorf("open upload session of %s: %w", ref, err)
	}
	if s.complete() {
		token, err := u.finish(ctx, ref, c, s)
		return Session{Token: token, Buckets: [][]string{}}, err
	}
	token, err := u.sign(forUpload, *c)
	if err != nil {
		return Session{}, err
	}
	u.lg.Debug("asset upload begins", "account", ref.Account, "script", ref.String(), "files", len(m))
	return Session{Token: token, Buckets: s.buckets()}, nil
}

// begin makes a session, or goes on with one for the same manifest.
func (u *Uploads) begin(ctx context.Context, ref atoll.ScriptRef, hash string, m manifest) (*session, error) {
	all := m.claims()
	held, err := u.held(ctx, ref, all)
	if err != nil {
		return nil, err
	}
	fresh := &session{files: m, by: map[string]*wanted{}, missing: map[string]bool{}}
	for i, w := range all {
		fresh.by[w.claim] = &all[i]
		if _, ok := held[w.claim]; !ok {
			fresh.missing[w.claim] = true
		}
	}
	key := sessionKey{ref, hash}
	u.mu.Lock()
	defer u.mu.Unlock()
	before := u.sessions[key]
	if before != nil && before.agrees(held) {
		return before, nil // so that two who upload the same do it together
	}
	if before != nil {
		u.sessions[key] = fresh
		return fresh, nil
	}
	for len(u.recent) > 0 && u.files+fresh.cost() > maxRemembered {
		u.files -= u.sessions[u.recent[0]].cost()
		delete(u.sessions, u.recent[0])
		u.recent = u.recent[1:]
	}
	u.recent = append(u.recent, key)
	u.files += fresh.cost()
	u.sessions[key] = fresh
	return fresh, nil
}

// session returns the session for a manifest that a token names.
func (u *Uploads) session(ctx context.Context, ref atoll.ScriptRef, hash string) (*session, error) {
	u.mu.Lock()
	s := u.sessions[sessionKey{ref, hash}]
	u.mu.Unlock()
	if s != nil {
		return s, nil
	}
	data, err := u.blobs.Read(hash)
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	m, err := decodeManifest(data)
	if err != nil {
		return nil, err
	}
	return u.begin(ctx, ref, hash, m)
}

// checkNamespace makes sure that the dispatch namespace of a token is still the one it was made for.
func (u *Uploads) checkNamespace(ctx context.Context, c *claims) error {
	if c.Namespace == "" {
		return nil
	}
	ns, err := u.store.Namespace(ctx, atoll.AccountID(c.Account), atoll.NamespaceName(c.Namespace))
	if err == nil && ns.ID != c.NamespaceID {
		err = fault.New(fault.NotFound, 100119, "the assets token is for a dispatch namespace that is not there any more")
	}
	return err
}

// held returns what of the wanted content is stored and may be used by the script: its own claims, then those of the
// namespace. What it returns counts as put now, so that it stays for the time of the session.
func (u *Uploads) held(ctx context.Context, ref atoll.ScriptRef, all []wanted) (map[string]atoll.AssetClaim, error) {
	names := make([]string, len(all))
	for i, w := range all {
		names[i] = w.claim
	}
	own, shared, err := u.store.AssetClaims(ctx, ref, names)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	out := make(map[string]atoll.AssetClaim, len(all))
	var group errgroup.Group
	group.SetLimit(8)
	for _, w := range all {
		group.Go(func() error {
			for _, set := range []map[string]atoll.AssetClaim{own, shared} {
				c, ok := set[w.claim]
				if !ok || c.Size != w.size {
					continue
				}
				there, err := u.blobs.Renew(c.Blob, c.Size)
				if err != nil {
					return err
				}
				if there {
					mu.Lock()
					out[w.claim] = c
					mu.Unlock()
					return nil
				}
			}
			return nil
		})
	}
	return out, group.Wait()
}

// finish resolves a manifest whose content is all there, and returns the token to deploy it with.
func (u *Uploads) finish(ctx context.Context, ref atoll.ScriptRef, c *claims, s *session) (string, error) {
	all := make([]wanted, 0, len(s.by))
	for _, w := range s.by {
		all = append(all, *w)
	}
	held, err := u.held(ctx, ref, all)
	if err != nil {
		return "", err
	}
	list, size := make([]entry, 0, len(s.files)), int64(0)
	for path, f := range s.files {
		h, ok := held[f.Hash]
		if !ok { // collected meanwhile: the session is older than a token may be
			return "", fault.Newf(fault.Invalid, 10021, "the file %q is not there any more: start a new upload session", shorten(path))
		}
		e := entry{Path: path, Blob: h.Blob, Size: h.Size, Type: h.Type}
		switch e.Type {
		case "":
			e.Type = typeOf(path)
		case noType:
			e.Type = ""
		}
		list = append(list, e)
		size += e.Size
	}
	done := *c
	done.Size = size
	if done.Manifest, err = u.blobs.PutBytes(ctx, encodeList(list)); err != nil {
		return "", fmt.Errorf("write list of files: %w", err)
	}
	return u.sign(forDeploy, done)
}

// Redeem returns the assets that a token, which came at the end of an upload for this very script, stands for.
func (u *Uploads) Redeem(ctx context.Context, ref atoll.ScriptRef, token string) (*atoll.Assets, error) {
	c, err := u.verify(forDeploy, token, fault.Invalid, 10021)
	if err != nil {
		return nil, err
	}
	if c.ref() != ref {
		return nil, fault.New(fault.Invalid, 10021, "the assets token is for another script")
	}
	if err := u.checkNamespace(ctx, c); err != nil {
		return nil, err
	}
	return &atoll.Assets{Manifest: c.Manifest, Files: c.Files, Size: c.Size}, nil
}

// Files returns the blobs of a version's files. With renew, they and their list count as put now: a version that will refer
// to them has time to be stored. What is missing is a fault.
func (u *Uploads) Files(ctx context.Context, a *atoll.Assets, renew bool) ([]string, error) {
	list, err := readList(u.blobs, a.Manifest)
	if err != nil {
		return nil, fmt.Errorf("read assets: %w", err)
	}
	out := make([]string, len(list))
	for i, e := range list {
		out[i] = e.Blob
	}
	if !renew {
		return out, nil
	}
	if _, err := u.blobs.PutBytes(ctx, encodeList(list)); err != nil {
		return nil, fmt.Errorf("renew assets: %w", err)
	}
	var group errgroup.Group
	group.SetLimit(8)
	for _, e := range list {
		group.Go(func() error {
			there, err := u.blobs.Renew(e.Blob, e.Size)
			if err == nil && !there {
				err = fault.Newf(fault.Invalid, 10021, "the file %q is not there any more: upload the assets again", shorten(e.Path))
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("renew assets: %w", err)
	}
	return out, nil
}
