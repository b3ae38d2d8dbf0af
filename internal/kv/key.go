package kv

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strconv"
	"unicode/utf8"

	"atoll.dev/atoll/internal/fault"
)

// The limits of Workers KV, from https://developers.cloudflare.com/kv/platform/limits/.
const (
	MaxKey       = 512
	MaxValue     = 25 << 20
	MaxMetadata  = 1024
	MaxList      = 1000
	MaxBulkGet   = 100
	MaxBulkKeys  = 10_000
	MaxBulkBytes = 100 << 20
	minTTL       = 60
	minCacheTTL  = 30
)

// The numbers in the API's errors. The published list of KV errors names the first ones; the binding shows none of them.
const (
	codeKeyNotFound       = 10009
	codeNamespaceID       = 10011
	codeMalformed         = 10012
	codeNamespaceNotFound = 10013
	codeTitleTaken        = 10014
	codeNoTitle           = 10019
	codeTooLarge          = 10024
	codeLimit             = 10028
	codeNoKeys            = 10029
	codeExpiration        = 10034
	codeKeyTooLong        = 10036
	codeFull              = 10048
)

// NamespaceID is the id of a namespace: 32 lowercase hexadecimal digits.
type NamespaceID string

var namespaceID = regexp.MustCompile(`^[0-9a-f]{32}$`)

// ParseNamespaceID returns s as a NamespaceID.
func ParseNamespaceID(s string) (NamespaceID, error) {
	if !namespaceID.MatchString(s) {
		return "", fault.New(fault.Invalid, codeNamespaceID, "could not parse namespace ID")
	}
	return NamespaceID(s), nil
}

// Key names a value in its namespace.
type Key string

// ParseKey returns s as a Key: 1 to 512 bytes of UTF-8, and neither "." nor "..", which URLs would lose.
func ParseKey(s string) (Key, error) {
	switch {
	case s == "":
		return "", fault.New(fault.Invalid, codeMalformed, "Key names must not be empty")
	case s == "." || s == "..":
		return "", fault.Newf(fault.Invalid, codeMalformed, "Illegal key name %q. Please use a different name.", s)
	case !utf8.ValidString(s):
		return "", fault.New(fault.Invalid, codeMalformed, "Could not URL-decode key name")
	}
	return Key(s), checkLength(s)
}

// checkLength bounds a key or a prefix of keys.
func checkLength(s string) error {
	if len(s) > MaxKey {
		return fault.Newf(fault.Invalid, codeKeyTooLong,
			"UTF-8 encoded length of %d exceeds key length limit of %d.", len(s), MaxKey)
	}
	return nil
}

// PutOptions are what is stored beside a value.
type PutOptions struct {
	Expires  int64  // Unix seconds, as ParseExpiry makes them; 0 means never
	Metadata string // JSON, as ParseMetadata makes it; "" means none
	Length   int64  // of the value; 0 where it is not known
}

// ParseExpiry returns the time in Unix seconds at which a value put now expires, from the two ways of saying it: a time
// and a number of seconds from now, which wins. Empty strings say nothing; without both, the result is 0.
func (s *Store) ParseExpiry(expiration, ttl string) (int64, error) {
	now := s.now()
	if ttl != "" {
		n, err := strconv.ParseInt(ttl, 10, 64)
		if err != nil || n <= 0 {
			return 0, badExpiry("expiration_ttl", ttl, "Please specify integer greater than 0.")
		}
		if n < minTTL {
			return 0, badExpiry("expiration_ttl", ttl, "Expiration TTL must be at least 60.")
		}
		if n > maxTime-now {
			return 0, badExpiry("expiration_ttl", ttl, "Please specify a smaller integer.")
		}
		return now + n, nil
	}
	if expiration == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(expiration, 10, 64)
	if err != nil || n <= now {
		return 0, badExpiry("expiration", expiration,
			"Please specify integer greater than the current number of seconds since the UNIX epoch.")
	}
	if n < now+minTTL {
		return 0, badExpiry("expiration", expiration, "Expiration times must be at least 60 seconds in the future.")
	}
	if n > maxTime {
		return 0, badExpiry("expiration", expiration, "Please specify a smaller integer.")
	}
	return n, nil
}

// maxTime keeps expirations in what JavaScript holds exactly.
const maxTime = 1<<53 - 1

func badExpiry(name, value, why string) error {
	if len(value) > 32 {
		value = value[:32]
	}
	return fault.Newf(fault.Invalid, codeExpiration, "Invalid %s of %s. %s", name, value, why)
}

// ParseMetadata returns JSON text as it is stored: compact, at most MaxMetadata bytes. Null means none.
func ParseMetadata(text []byte) (string, error) {
	if len(text) > 16*MaxMetadata {
		return "", metadataTooLarge(len(text))
	}
	var b bytes.Buffer
	if err := json.Compact(&b, text); err != nil || !utf8.Valid(text) {
		return "", fault.New(fault.Invalid, codeMalformed, "metadata must be valid json")
	}
	if b.Len() > MaxMetadata {
		return "", metadataTooLarge(b.Len())
	}
	if b.String() == "null" {
		return "", nil
	}
	return b.String(), nil
}

func metadataTooLarge(n int) error {
	return fault.Newf(fault.TooLarge, codeTooLarge, "Metadata length of %d exceeds limit of %d.", n, MaxMetadata)
}

func valueTooLarge(n int64) error {
	return fault.Newf(fault.TooLarge, codeTooLarge, "Value length of %d exceeds limit of %d.", n, MaxValue)
}
