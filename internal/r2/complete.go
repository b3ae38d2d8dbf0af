package r2

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/sqlite"
)

// Chosen is a part that a completed upload is made of.
type Chosen struct {
	Number int
	ETag   string
}

// CompleteUpload makes an object of an upload's parts, in the order of their numbers. Parts that are not chosen are dropped.
func (s *Store) CompleteUpload(ctx context.Context, ref Ref, key, id string, chosen []Chosen, cond *Condition) (Object, error) {
	b, err := s.bucket(ref)
	if err == nil {
		err = CheckKey(key)
	}
	if err == nil && len(chosen) > MaxParts {
		err = errInvalidPart()
	}
	if err != nil {
		return Object{}, fmt.Errorf("complete upload: %w", err)
	}
	var out row
	err = s.db.WriteFor(ctx, b.num, func(ctx context.Context, tx sqlite.Session) error {
		u, err := s.openUpload(ctx, tx, b, key, id)
		if err != nil {
			return err
		}
		there, err := sqlite.All(ctx, tx, scanPart, partColumns+`WHERE upload = ? ORDER BY number`, u.num)
		if err != nil {
			return err
		}
		parts, err := s.choose(chosen, there)
		if err != nil {
			return err
		}
		out = s.assemble(u, parts)
		if out.Size > MaxObject {
			return errTooLarge()
		}
		if err := s.dropUnchosen(ctx, tx, u.num, there, parts); err != nil {
			return err
		}
		// The upload's share is given back before the object's is taken: they are the same bytes.
		if err := s.closeUpload(ctx, tx, b.num, ref.Account, u); err != nil {
			return err
		}
		return s.replace(ctx, tx, b, &out, cond)
	})
	if err != nil {
		return Object{}, fmt.Errorf("complete upload: %w", err)
	}
	s.kick()
	return out.Object, nil
}

func errInvalidPart() error {
	return fault.New(fault.Invalid, CodeInvalidPart, "One or more of the specified parts could not be found.")
}

// choose finds the chosen parts among those that are there, in the order of their numbers. All but the last must have one
// size, which is no less than the least: https://developers.cloudflare.com/r2/objects/multipart-objects/#limitations
func (s *Store) choose(chosen []Chosen, there []part) ([]part, error) {
	byNumber := map[int]part{}
	for _, p := range there {
		byNumber[p.number] = p
	}
	var parts []part
	seen := map[int]bool{}
	for _, c := range chosen {
		if seen[c.Number] {
			return nil, errArgument("Part %d is listed more than once.", c.Number)
		}
		seen[c.Number] = true
		p, ok := byNumber[c.Number]
		if !ok || p.etag != c.ETag {
			return nil, errInvalidPart()
		}
		parts = append(parts, p)
	}
	for i, p := range parts {
		if i < len(parts)-1 && p.size < s.opts.MinPart {
			return nil, fault.New(fault.Invalid, CodeTooSmall, "Your proposed upload is smaller than the minimum allowed object size.")
		}
	}
	slices.SortFunc(parts, func(a, b part) int { return a.number - b.number })
	for i, p := range parts {
		last := i == len(parts)-1
		if !last && (p.size < s.opts.MinPart || p.size != parts[0].size) || last && i > 0 && p.size > parts[0].size {
			return nil, fault.New(fault.Invalid, CodeBadUpload, "There was a problem with the multipart upload.")
		}
	}
	return parts, nil
}

// assemble is the object that the parts make.
func (s *Store) assemble(u uploadRow, parts []part) row {
	out := row{Object: Object{Key: u.Key, Version: atoll.NewID(), ETag: multipartETag(parts), Uploaded: s.now(), Class: u.Class,
		HTTP: u.http, Custom: u.custom, Sums: Sums{}, KeySum: u.KeySum, Parts: len(parts)}, head: u.head, upload: u.num}
	for _, p := range parts {
		out.Size += p.size
	}
	for _, name := range u.sums {
		var sums []string
		for _, p := range parts {
			sums = append(sums, p.sums[name])
		}
		if sum, ok := composite(name, sums); ok {
			out.Sums[name] = sum
		}
	}
	return out
}

func (s *Store) dropUnchosen(ctx context.Context, tx sqlite.Session, upload int64, there, chosen []part) error {
	keep := map[int]bool{}
	for _, p := range chosen {
		keep[p.number] = true
	}
	for _, p := range there {
		if keep[p.number] {
			continue
		}
		if _, err := sqlite.Run(ctx, tx, `INSERT INTO garbage (file, version) VALUES (?, '')`, p.file); err != nil {
			return err
		}
		if _, err := sqlite.Run(ctx, tx, `DELETE FROM parts WHERE upload = ? AND number = ?`, upload, p.number); err != nil {
			return err
		}
	}
	return nil
}

// UploadList says which open uploads Uploads returns.
type UploadList struct {
	Prefix            string
	AfterKey, AfterID string
	Limit             int
}

// Uploads returns a bucket's open uploads by key and id, and whether there are more.
func (s *Store) Uploads(ctx context.Context, ref Ref, o UploadList) (list []Upload, more bool, err error) {
	b, err := s.bucket(ref)
	if err != nil {
		return nil, false, fmt.Errorf("list uploads: %w", err)
	}
	rows, err := sqlite.All(ctx, s.db.Reads(), scanUpload, uploadColumns+`WHERE bucket = ? AND (key, id) > (?, ?) AND key >= ? ORDER BY key, id LIMIT ?`,
		b.num, []byte(o.AfterKey), o.AfterID, []byte(o.Prefix), o.Limit+1)
	if err != nil {
		return nil, false, fmt.Errorf("list uploads: %w", err)
	}
	for _, u := range rows {
		if !strings.HasPrefix(u.Key, o.Prefix) {
			break
		}
		if len(list) == o.Limit {
			return list, true, nil
		}
		list = append(list, u.Upload)
	}
	return list, false, nil
}

// Parts returns the parts of an open upload whose numbers come after one, and whether there are more.
func (s *Store) Parts(ctx context.Context, ref Ref, key, id string, after, limit int) (u Upload, list []Part, more bool, err error) {
	b, err := s.bucket(ref)
	if err != nil {
		return u, nil, false, fmt.Errorf("list parts: %w", err)
	}
	open, err := s.openUpload(ctx, s.db.Reads(), b, key, id)
	if err != nil {
		return u, nil, false, fmt.Errorf("list parts: %w", err)
	}
	rows, err := sqlite.All(ctx, s.db.Reads(), scanPart, partColumns+`WHERE upload = ? AND number > ? ORDER BY number LIMIT ?`, open.num, after, limit+1)
	if err != nil {
		return u, nil, false, fmt.Errorf("list parts: %w", err)
	}
	for _, p := range rows[:min(len(rows), limit)] {
		list = append(list, Part{p.number, p.size, p.etag, p.sums, p.uploaded})
	}
	return open.Upload, list, len(rows) > limit, nil
}
