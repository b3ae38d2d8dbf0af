package r2

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
	"strings"

	"atoll.dev/atoll/internal/fault"
)

// Sums are checksums by the names of their algorithms. The value is in hexadecimal; that of a multipart object's CRC, SHA-1
// or SHA-256 has the number of its parts behind a hyphen.
type Sums map[string]string

// algorithm is one way to sum content up.
type algorithm struct {
	name  string
	label string // in the message about a wrong one
	size  int
	new   func() hash.Hash
}

var crcNVME = crc64.MakeTable(0x9a6c9329ac4bc9b5)

// algorithms are those that R2 checks: the first five in the binding, the others and SHA-1 and SHA-256 in S3's protocol
// (https://developers.cloudflare.com/r2/api/s3/api/#checksum-types).
var algorithms = []algorithm{
	{"md5", "MD5", md5.Size, md5.New},
	{"sha1", "SHA-1", sha1.Size, sha1.New},
	{"sha256", "SHA-256", sha256.Size, sha256.New},
	{"sha384", "SHA-384", sha512.Size384, sha512.New384},
	{"sha512", "SHA-512", sha512.Size, sha512.New},
	{"crc32", "CRC32", crc32.Size, func() hash.Hash { return crc32.NewIEEE() }},
	{"crc32c", "CRC32C", crc32.Size, func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) }},
	{"crc64nvme", "CRC64NVME", crc64.Size, func() hash.Hash { return crc64.New(crcNVME) }},
}

func algorithmOf(name string) (algorithm, bool) {
	for _, a := range algorithms {
		if a.name == name {
			return a, true
		}
	}
	return algorithm{}, false
}

// CheckSum refuses what cannot be a checksum of the algorithm.
func CheckSum(name string, sum []byte) error {
	a, ok := algorithmOf(name)
	if !ok {
		return errArgument("There is no checksum algorithm %q.", name)
	}
	if len(sum) != a.size {
		return fault.Newf(fault.Invalid, 10014, "The %s checksum you specified is not valid: it has %d bytes, not %d.", a.label, len(sum), a.size)
	}
	return nil
}

// digest sums content up while it is written.
type digest struct {
	io.Writer
	hashes map[string]hash.Hash
}

// newDigest returns a digest of MD5 and of the algorithms that names has.
func newDigest(names ...string) *digest {
	d := &digest{hashes: map[string]hash.Hash{}}
	var all []io.Writer
	for _, name := range append([]string{"md5"}, names...) {
		if a, ok := algorithmOf(name); ok && d.hashes[name] == nil {
			h := a.new()
			d.hashes[name] = h
			all = append(all, h)
		}
	}
	d.Writer = io.MultiWriter(all...)
	return d
}

func (d *digest) sum(name string) []byte { return d.hashes[name].Sum(nil) }

// verify compares what was written with what was announced, and returns the sums to keep: those, in one spelling.
func (d *digest) verify(want map[string][]byte) (Sums, error) {
	sums := Sums{}
	for _, a := range algorithms {
		announced, ok := want[a.name]
		if !ok {
			continue
		}
		got := d.sum(a.name)
		if announced != nil && !bytes.Equal(got, announced) {
			return nil, fault.New(fault.Invalid, CodeDigest, strings.Join([]string{
				"The " + a.label + " checksum you specified did not match what we received.",
				"You provided a " + a.label + " checksum with value: " + hex.EncodeToString(announced),
				"Actual " + a.label + " was: " + hex.EncodeToString(got)}, "\n"))
		}
		sums[a.name] = hex.EncodeToString(got)
	}
	return sums, nil
}

// composite is the sum of a multipart object by one algorithm: of the sums of its parts, with their number behind, and for
// CRC64NVME, which has no such form, nothing.
func composite(name string, parts []string) (string, bool) {
	a, ok := algorithmOf(name)
	if !ok || name == "crc64nvme" {
		return "", false
	}
	h := a.new()
	for _, p := range parts {
		b, err := hex.DecodeString(p)
		if err != nil || len(b) == 0 {
			return "", false
		}
		h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil)) + "-" + itoa(len(parts)), true
}

// Base64 returns a sum as S3's protocol writes it.
func Base64(sum string) string {
	digits, count, parts := strings.Cut(sum, "-")
	b, err := hex.DecodeString(digits)
	if err != nil {
		return ""
	}
	text := base64.StdEncoding.EncodeToString(b)
	if parts {
		text += "-" + count
	}
	return text
}
