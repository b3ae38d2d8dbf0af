package r2

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/sqlite"
)

// Upload is a multipart upload that is open.
type Upload struct {
	Key     string
	ID      string
	Created time.Time
	Class   string
	KeySum  string
}

// uploadRow is an upload as it is stored.
type uploadRow struct {
	Upload
	num, head, bytes int64
	http             HTTPMetadata
	custom           []Field
	sums             []string
}

// An upload's id is random, with a code behind it that only this store can make for this bucket and key: so that an id that
// was never given out can be told from one whose upload is completed or aborted, of which nothing is kept.
const idRandom, idCode = 24, 24

func (s *Store) newUploadID(b *bucket, key string) string {
	id := make([]byte, idRandom)
	rand.Read(id)
	return base64.RawURLEncoding.EncodeToString(s.uploadCode(b, key, id))
}

func (s *Store) uploadCode(b *bucket, key string, random []byte) []byte {
	mac := hmac.New(sha256.New, s.secret)
	var num [8]byte
	binary.BigEndian.PutUint64(num[:], uint64(b.num))
	mac.Write(num[:])
	mac.Write(random)
	mac.Write([]byte(key))
	return mac.Sum(slices.Clip(random))[:idRandom+idCode]
}

// knownUpload tells whether the id was given out for the key.
func (s *Store) knownUpload(b *bucket, key, id string) bool {
	raw, err := base64.RawURLEncoding.DecodeString(id)
	return err == nil && len(raw) == idRandom+idCode && hmac.Equal(raw, s.uploadCode(b, key, raw[:idRandom]))
}

// CreateUpload begins a multipart upload. o.Sums names the checksums that its parts will have; its condition is not used.
func (s *Store) CreateUpload(ctx context.Context, ref Ref, key string, o PutOptions) (Upload, error) {
	b, err := s.bucket(ref)
	if err == nil {
		err = CheckKey(key)
	}
	if err == nil {
		err = checkMetadata(o.HTTP, o.Custom)
	}
	if o.Class == "" && b != nil {
		o.Class = *b.class.Load()
	}
	if err == nil {
		err = checkClass(o.Class)
	}
	if err != nil {
		return Upload{}, fmt.Errorf("create upload: %w", err)
	}
	u := Upload{Key: key, ID: s.newUploadID(b, key), Created: s.now(), Class: o.Class, KeySum: o.Key.Sum()}
	sums := []string{}
	for name := range o.Sums {
		sums = append(sums, name)
	}
	head := headSize(key, o.HTTP, o.Custom)
	err = s.db.WriteFor(ctx, b.num, func(ctx context.Context, tx sqlite.Session) error {
		open, err := sqlite.One(ctx, tx, sqlite.Value[int], `UPDATE buckets SET uploads = uploads + 1, pending = pending + ? WHERE num = ? RETURNING uploads`, head, b.num)
		if sqlite.Missing(err) {
			return errNoBucket()
		}
		if err != nil {
			return err
		}
		if open > s.opts.OpenUploads {
			return fault.Newf(fault.Limited, CodeTooManyRequests, "The bucket has %d open multipart uploads, and can have no more.", s.opts.OpenUploads)
		}
		if err := s.charge(ctx, tx, ref.Account, head); err != nil {
			return err
		}
		_, err = sqlite.Run(ctx, tx, `INSERT INTO uploads (bucket, key, id, created, class, http, custom, sums, keysum, head)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, b.num, []byte(key), u.ID, millis(u.Created), u.Class, encode(o.HTTP), encode(o.Custom),
			encode(sums), u.KeySum, head)
		return err
	})
	if err != nil {
		return Upload{}, fmt.Errorf("create upload: %w", err)
	}
	return u, nil
}

func scanUpload(r sqlite.Row) (u uploadRow, err error) {
	var key, http, custom, sums []byte
	var created int64
	if err := r.Scan(&u.num, &key, &u.ID, &created, &u.Class, &http, &custom, &sums, &u.KeySum, &u.head, &u.bytes); err != nil {
		return u, err
	}
	u.Key, u.Created = string(key), fromMillis(created)
	if err = json.Unmarshal(http, &u.http); err == nil {
		if err = json.Unmarshal(custom, &u.custom); err == nil {
			err = json.Unmarshal(sums, &u.sums)
		}
	}
	return u, err
}

const uploadColumns = `SELECT num, key, id, created, class, http, custom, sums, keysum, head, bytes FROM uploads `

// openUpload finds an upload that is open.
func (s *Store) openUpload(ctx context.Context, tx sqlite.Session, b *bucket, key, id string) (uploadRow, error) {
	u, err := sqlite.One(ctx, tx, scanUpload, uploadColumns+`WHERE bucket = ? AND key = ? AND id = ?`, b.num, []byte(key), id)
	if sqlite.Missing(err) {
		err = errNoUpload()
	}
	return u, err
}

// part is one part of an upload.
type part struct {
	number   int
	size     int64
	etag     string
	md5      []byte
	sums     Sums
	uploaded time.Time
	file     string
	salt     []byte
}

func scanPart(r sqlite.Row) (p part, err error) {
	var sums []byte
	var uploaded int64
	if err := r.Scan(&p.number, &p.size, &p.etag, &p.md5, &sums, &uploaded, &p.file, &p.salt); err != nil {
		return p, err
	}
	p.uploaded = fromMillis(uploaded)
	return p, json.Unmarshal(sums, &p.sums)
}

const partColumns = `SELECT number, size, etag, md5, sums, uploaded, file, salt FROM parts `

func (s *Store) parts(ctx context.Context, upload int64) ([]part, error) {
	return sqlite.All(ctx, s.db.Reads(), scanPart, partColumns+`WHERE upload = ? ORDER BY number`, upload)
}

// Part is what is told of a part.
type Part struct {
	Number   int
	Size     int64
	ETag     string
	Sums     Sums
	Uploaded time.Time
}

// UploadPart stores a part of an upload, in place of an earlier one of that number. Its options are those of content: Sums,
// Key, Length, Announced.
func (s *Store) UploadPart(ctx context.Context, ref Ref, key, id string, number int, body io.Reader, o PutOptions) (Part, error) {
	b, err := s.bucket(ref)
	if err == nil {
		err = CheckKey(key)
	}
	if err == nil && (number < 1 || number > MaxParts) {
		err = errArgument("Part number must be an integer between 1 and %d, inclusive.", MaxParts)
	}
	if err == nil && o.Length > MaxPut {
		err = errTooLarge()
	}
	var u uploadRow
	if err == nil {
		u, err = s.openUpload(ctx, s.db.Reads(), b, key, id)
	}
	if err == nil {
		err = o.Key.check(u.KeySum)
	}
	if err != nil {
		return Part{}, fmt.Errorf("upload part: %w", err)
	}
	res, err := s.reserve(ctx, ref, o.Length)
	if err != nil {
		return Part{}, fmt.Errorf("upload part: %w", err)
	}
	defer res.release()
	o.Sums = withSums(o.Sums, u.sums)
	c, err := s.take(ctx, res, body, o, 0)
	if err != nil {
		return Part{}, fmt.Errorf("upload part: %w", err)
	}
	p := part{number: number, size: c.size, etag: atoll.NewID(), md5: c.md5, sums: c.sums, uploaded: s.now(), file: c.file, salt: c.salt}
	if o.Key == nil {
		p.etag = hex.EncodeToString(c.md5)
	}
	err = s.commit(ctx, b, c.file, func(ctx context.Context, tx sqlite.Session) error { return s.storePart(ctx, tx, b, key, id, p) })
	if err != nil {
		return Part{}, fmt.Errorf("upload part: %w", err)
	}
	return Part{p.number, p.size, p.etag, p.sums, p.uploaded}, nil
}

// withSums adds algorithms to those that are asked for.
func withSums(sums map[string][]byte, names []string) map[string][]byte {
	all := map[string][]byte{}
	for _, name := range names {
		all[name] = nil
	}
	for name, sum := range sums {
		all[name] = sum
	}
	return all
}

// partBytes is what a part of an open upload counts for beside its content: a file's least share of the disk. A bucket may
// have a hundred million parts of one byte.
const partBytes = 4096

func (s *Store) storePart(ctx context.Context, tx sqlite.Session, b *bucket, key, id string, p part) error {
	u, err := s.openUpload(ctx, tx, b, key, id)
	if err != nil {
		return err
	}
	more := p.size + partBytes
	old, err := sqlite.One(ctx, tx, scanPart, partColumns+`WHERE upload = ? AND number = ?`, u.num, p.number)
	if err == nil {
		more -= old.size + partBytes
		_, err = sqlite.Run(ctx, tx, `INSERT INTO garbage (file, version) VALUES (?, '')`, old.file)
	}
	if err != nil && !sqlite.Missing(err) {
		return err
	}
	_, err = sqlite.Run(ctx, tx, `INSERT OR REPLACE INTO parts (upload, number, size, etag, md5, sums, uploaded, file, salt) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		u.num, p.number, p.size, p.etag, p.md5, encode(p.sums), millis(p.uploaded), p.file, p.salt)
	if err != nil {
		return err
	}
	return s.countUpload(ctx, tx, b, u.num, more)
}

// countUpload changes the figures of an upload, its bucket and its account.
func (s *Store) countUpload(ctx context.Context, tx sqlite.Session, b *bucket, upload, delta int64) error {
	if _, err := sqlite.Run(ctx, tx, `UPDATE uploads SET bytes = bytes + ? WHERE num = ?`, delta, upload); err != nil {
		return err
	}
	if _, err := sqlite.Run(ctx, tx, `UPDATE buckets SET pending = pending + ? WHERE num = ?`, delta, b.num); err != nil {
		return err
	}
	return s.charge(ctx, tx, b.ref.Account, delta)
}

// AbortUpload drops an upload with its parts. It may be asked again, and after the upload was completed.
func (s *Store) AbortUpload(ctx context.Context, ref Ref, key, id string) error {
	b, err := s.bucket(ref)
	if err == nil {
		err = CheckKey(key)
	}
	if err == nil && !s.knownUpload(b, key, id) {
		err = errNoUpload()
	}
	if err == nil {
		err = s.db.WriteFor(ctx, b.num, func(ctx context.Context, tx sqlite.Session) error {
			u, err := s.openUpload(ctx, tx, b, key, id)
			if fault.KindOf(err) == fault.NotFound {
				return nil
			}
			if err != nil {
				return err
			}
			if err := s.closeUpload(ctx, tx, b.num, b.ref.Account, u); err != nil {
				return err
			}
			return dropParts(ctx, tx, u.num)
		})
	}
	if err != nil {
		return fmt.Errorf("abort upload: %w", err)
	}
	s.kick()
	return nil
}

// closeUpload removes an upload from the open ones, and what it counted for.
func (s *Store) closeUpload(ctx context.Context, tx sqlite.Session, bucket int64, account atoll.AccountID, u uploadRow) error {
	if _, err := sqlite.Run(ctx, tx, `DELETE FROM uploads WHERE num = ?`, u.num); err != nil {
		return err
	}
	if _, err := sqlite.Run(ctx, tx, `UPDATE buckets SET uploads = uploads - 1, pending = pending - ? WHERE num = ?`, u.head+u.bytes, bucket); err != nil {
		return err
	}
	return s.charge(ctx, tx, account, -u.head-u.bytes)
}

func dropParts(ctx context.Context, tx sqlite.Session, upload int64) error {
	if _, err := sqlite.Run(ctx, tx, `INSERT INTO garbage (file, version) SELECT file, '' FROM parts WHERE upload = ?`, upload); err != nil {
		return err
	}
	_, err := sqlite.Run(ctx, tx, `DELETE FROM parts WHERE upload = ?`, upload)
	return err
}

// multipartETag is the MD5 of the parts' MD5s, with their number behind.
func multipartETag(parts []part) string {
	h := md5.New()
	for _, p := range parts {
		h.Write(p.md5)
	}
	return hex.EncodeToString(h.Sum(nil)) + "-" + itoa(len(parts))
}
