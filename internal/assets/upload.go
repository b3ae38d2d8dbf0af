package assets

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
)

// Put is one request to workers/assets/upload.
type Put struct {
	Account     atoll.AccountID // that the request's path names
	Token       string          // of the session
	ContentType string          // of the request
	Body        io.Reader
	Base64      bool // the parts are base64
}

// maxParts bounds a request's parts; a bucket has fewer.
const maxParts = 10_000

// noType is the part type by which wrangler says that a file has none.
const noType = "application/null"

// Upload stores the files of a request. The token it returns is for the deploy; it is empty while files are missing. A
// request may be repeated, and comes to the same.
func (u *Uploads) Upload(ctx context.Context, p Put) (token string, err error) {
	c, err := u.verify(forUpload, p.Token, fault.Unauthenticated, 10000)
	if err != nil {
		return "", err
	}
	if c.Account != string(p.Account) {
		return "", fault.New(fault.Forbidden, 9109, "the assets token is of another account")
	}
	ref := c.ref()
	if err := u.checkNamespace(ctx, c); err != nil {
		return "", err
	}
	s, err := u.session(ctx, ref, c.Manifest)
	if err != nil {
		return "", fmt.Errorf("upload assets of %s: %w", ref, err)
	}
	mt, params, err := mime.ParseMediaType(p.ContentType)
	if err != nil || mt != "multipart/form-data" || params["boundary"] == "" {
		return "", fault.New(fault.Unsupported, 10001, "Content-Type must be multipart/form-data")
	}
	if err := u.receive(ctx, ref, s, multipart.NewReader(p.Body, params["boundary"]), p.Base64); err != nil {
		return "", fmt.Errorf("upload assets of %s: %w", ref, err)
	}
	if err := u.look(ctx, ref, s); err != nil {
		return "", fmt.Errorf("upload assets of %s: %w", ref, err)
	}
	if !s.complete() {
		return "", nil
	}
	token, err = u.finish(ctx, ref, c, s)
	if err != nil {
		return "", fmt.Errorf("upload assets of %s: %w", ref, err)
	}
	return token, nil
}

// look finds what came by another way than this session: towards its end, for whoever waits for nothing waits for ever.
func (u *Uploads) look(ctx context.Context, ref atoll.ScriptRef, s *session) error {
	rest := s.rest()
	if len(rest) == 0 {
		return nil
	}
	held, err := u.held(ctx, ref, rest)
	s.agrees(held)
	return err
}

// receive stores the parts of a form, several at a time, and then what they are called.
func (u *Uploads) receive(ctx context.Context, ref atoll.ScriptRef, s *session, form *multipart.Reader, encoded bool) error {
	r := receiver{Uploads: u, session: s, encoded: encoded}
	r.group, r.ctx = errgroup.WithContext(ctx)
	r.group.SetLimit(8) // a write that waits for the disk leaves it idle otherwise
	err := r.parts(form)
	if err := errors.Join(err, r.group.Wait()); err != nil {
		return err
	}
	if len(r.own) == 0 {
		return nil
	}
	if err := u.store.PutAssetClaims(ctx, ref, r.own, r.shared); err != nil {
		return err
	}
	s.have(r.own)
	return nil
}

// receiver is one form being received.
type receiver struct {
	*Uploads
	*session
	encoded bool
	group   *errgroup.Group
	ctx     context.Context // of the group

	mu          sync.Mutex
	own, shared []atoll.AssetClaim // what is stored
}

func (r *receiver) parts(form *multipart.Reader) error {
	for range maxParts {
		part, err := form.NextRawPart()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return badForm(err)
		}
		w, ok := r.find(part)
		if !ok {
			return fault.Newf(fault.Invalid, 10021, "the part %q is no hash of the upload session's manifest", shorten(part.FormName()))
		}
		if err := r.part(part, w); err != nil {
			return err
		}
	}
	return fault.Newf(fault.Invalid, 10021, "the form has too many parts: at most %d are allowed", maxParts)
}

// part reads a part, and stores it while the next one is read.
func (r *receiver) part(part *multipart.Part, w *wanted) error {
	if err := r.memory.Acquire(r.ctx, w.size+1); err != nil {
		return context.Cause(r.ctx)
	}
	content, err := readPart(part, w, r.encoded)
	if err != nil {
		r.memory.Release(w.size + 1)
		return err
	}
	mimeType := partType(part)
	r.group.Go(func() error {
		defer r.memory.Release(w.size + 1)
		hash, err := r.blobs.PutBytes(r.ctx, content)
		if err != nil {
			return err
		}
		c := atoll.AssetClaim{Claim: w.claim, Blob: hash, Size: w.size, Type: mimeType}
		everyones := recomputes(w.claim, hash, content, w.paths)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.own = append(r.own, c)
		if everyones {
			c.Type = "" // it is by the path for others: what one tenant says of a type is for his own site
			r.shared = append(r.shared, c)
		}
		return nil
	})
	return nil
}

// readPart reads a part's content, whose size the manifest has announced.
func readPart(part *multipart.Part, w *wanted, encoded bool) ([]byte, error) {
	var r io.Reader = part
	if encoded {
		r = base64.NewDecoder(base64.StdEncoding, r)
	}
	content := make([]byte, w.size+1)
	n, err := io.ReadFull(r, content)
	var corrupt base64.CorruptInputError
	switch {
	case errors.As(err, &corrupt):
		return nil, fault.Newf(fault.Invalid, 10021, "the part %s is not base64", w.claim)
	case err == nil || int64(n) != w.size && (err == io.EOF || err == io.ErrUnexpectedEOF):
		// A form that is cut short ends with the same error as a part that is short of base64's groups of four.
		if _, rest := io.Copy(io.Discard, part); rest != nil {
			return nil, badForm(rest)
		}
		return nil, fault.Newf(fault.Invalid, 10021, "the part %s has not the size that the manifest says, %d bytes", w.claim, w.size)
	case err != io.EOF && err != io.ErrUnexpectedEOF:
		return nil, badForm(err)
	}
	return content[:w.size], nil
}

// partType is a part's content type as it is kept.
func partType(part *multipart.Part) string {
	t := strings.TrimSpace(part.Header.Get("Content-Type"))
	if len(t) > 255 || !fieldValue.MatchString(t) {
		return ""
	}
	return t
}

// badForm makes a fault of a failure to read a form, unless it is one.
func badForm(err error) error {
	if fault.Of(err) != nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("%w: %w", fault.New(fault.Invalid, 10026, "could not parse the request body: it is cut short or is no multipart form"), err)
}
