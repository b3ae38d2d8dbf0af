// Package atoll holds the nouns that every other package shares: accounts, dispatch namespaces, scripts, versions,
// bindings. It parses and validates them and does no I/O.
//
// Names that come from users are distinct types made by a Parse function, so that a bare string never crosses a package
// border as a script's name.
package atoll

import (
	"crypto/rand"
	"encoding/hex"
	"regexp"
	"unicode/utf8"

	"atoll.dev/atoll/internal/fault"
)

// AccountID is 32 lowercase hexadecimal digits, as wrangler expects of an account.
type AccountID string

// ParseAccountID returns s as an AccountID.
func ParseAccountID(s string) (AccountID, error) {
	if !hex32.MatchString(s) {
		return "", fault.Newf(fault.NotFound, 7003, "Could not route to /accounts/%s, perhaps your object identifier is invalid?", s)
	}
	return AccountID(s), nil
}

// NamespaceName is the name of a dispatch namespace; unique in its account.
type NamespaceName string

// ParseNamespaceName returns s as a NamespaceName: 1 to 255 bytes of printable text without slashes.
func ParseNamespaceName(s string) (NamespaceName, error) {
	if s == "" || len(s) > 255 || !namespaceName.MatchString(s) {
		return "", fault.New(fault.Invalid, 100118, "dispatch namespace names are 1 to 255 characters of letters, digits, '-', '_', '.' and ' '")
	}
	return NamespaceName(s), nil
}

// ScriptName is the name of a script, unique in its dispatch namespace, or in its account for account scripts.
type ScriptName string

// ParseScriptName returns s as a ScriptName: 1 to 255 characters of letters, digits, '-' and '_', as third-party clients
// send them (wrangler itself sends only lower case).
func ParseScriptName(s string) (ScriptName, error) {
	if len(s) > 255 || !scriptName.MatchString(s) {
		return "", fault.New(fault.Invalid, 10016, "Worker names are 1 to 255 characters of letters, digits, '-' and '_'")
	}
	return ScriptName(s), nil
}

// VersionID is the UUID of one version of a script.
type VersionID string

// ParseVersionID returns s as a VersionID.
func ParseVersionID(s string) (VersionID, error) {
	if !uuid.MatchString(s) {
		return "", fault.New(fault.NotFound, 10007, "This version does not exist.")
	}
	return VersionID(s), nil
}

// ScriptRef names one script of the node: a user Worker where Namespace is set, else an account script.
type ScriptRef struct {
	Account   AccountID
	Namespace NamespaceName // empty: an account script
	Name      ScriptName
}

func (r ScriptRef) String() string {
	if r.Namespace == "" {
		return string(r.Name)
	}
	return string(r.Namespace) + "/" + string(r.Name)
}

// NotFound is the fault for a script that does not exist. wrangler's deploy accepts 10092 alone for a user Worker.
func (r ScriptRef) NotFound() error {
	if r.Namespace != "" {
		return fault.New(fault.NotFound, 10092, "workers.api.error.script_not_found")
	}
	return fault.New(fault.NotFound, 10007, "This Worker does not exist on your account.")
}

// MaxTags is how many tags a script may have.
const MaxTags = 8

// ParseTags checks a whole set of tags: at most MaxTags, each 1 to 255 bytes of UTF-8 without ',' and '&', which the tag
// filter and query strings need. Duplicates are dropped, order is kept.
func ParseTags(tags []string) ([]string, error) {
	out := make([]string, 0, len(tags))
	seen := map[string]bool{}
	for _, t := range tags {
		if !utf8.ValidString(t) || t == "" || len(t) > 255 || badTag.MatchString(t) {
			return nil, fault.Newf(fault.Invalid, 10021, "tag %q is not valid: tags are 1 to 255 bytes without ',' and '&'", t)
		}
		if !seen[t] {
			seen[t] = true
			out = append(out, t)
		}
	}
	if len(out) > MaxTags {
		return nil, fault.Newf(fault.Invalid, 10021, "too many tags: %d, at most %d are allowed", len(out), MaxTags)
	}
	return out, nil
}

// NewID returns 32 random hexadecimal digits, the form of Cloudflare's resource identifiers.
func NewID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails, see crypto/rand
	return hex.EncodeToString(b[:])
}

// NewUUID returns a random UUID (RFC 9562, version 4) in its hyphenated form.
func NewUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

var (
	hex32         = regexp.MustCompile(`^[0-9a-f]{32}$`)
	namespaceName = regexp.MustCompile(`^[\pL\pN._ -]+$`)
	scriptName    = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)
	uuid          = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	badTag        = regexp.MustCompile(`[,&\x00-\x1f\x7f]`)
)
