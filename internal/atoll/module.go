package atoll

import (
	"path"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"atoll.dev/atoll/internal/fault"
)

// scheme begins a URL (RFC 3986, section 3.1). The engine's own modules have such names, "node:async_hooks" and the like,
// and a Worker's module of the same name would be imported in their place, by the node's code too.
var scheme = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9+.-]*:`)

// reservedModules are the names of the node's own modules beside a Worker's.
var reservedModules = map[string]bool{
	"atoll-wrapper.js": true, "atoll-prelude.js": true, "atoll-errors.js": true, "atoll-queue.js": true, "atoll-serviceworker.js": true,
	"atoll-main.js": true, "atoll-globals.js": true, "atoll-rpc.js": true,
}

// CheckModuleName refuses names that a Worker's module cannot have: that the engine cannot load or would take for others.
// What counts is the name as the engine reads it, without empty and dot segments.
func CheckModuleName(name string) error {
	refuse := func(why string) error {
		return fault.Newf(fault.Invalid, 10021, "the module name %q is not valid: %s", name, why)
	}
	clean := CleanModuleName(name)
	switch {
	case name == "" || len(name) > 1024 || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return refuse("names are 1 to 1024 bytes of UTF-8 without control characters")
	case strings.HasPrefix(name, "/"):
		return refuse("names are relative, they do not begin with a slash")
	case clean == ".." || strings.HasPrefix(clean, "../"):
		return refuse("names do not lead out of the Worker's own modules")
	case clean == ".":
		return refuse("it names no file")
	case scheme.MatchString(clean):
		return refuse("names do not begin like a URL")
	case reservedModules[clean]:
		return refuse("it is one of the platform's own")
	}
	return nil
}

// CleanModuleName returns the name by which the engine knows a module: two modules whose names it reads alike are one.
func CleanModuleName(name string) string { return path.Clean(name) }
