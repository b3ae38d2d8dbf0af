package atoll

import (
	"slices"
	"strings"
	"unicode"

	"atoll.dev/atoll/internal/fault"
)

// Class is a class of a script whose instances are Durable Objects, with the namespace that they live in:
// https://developers.cloudflare.com/durable-objects/reference/durable-objects-migrations/
type Class struct {
	ID     string `json:"id"` // of the namespace: 32 hex digits, which name its storage and key its objects' ids
	Name   string `json:"name"`
	SQLite bool   `json:"sqlite,omitempty"` // its objects have storage.sql
}

// FindClass returns the class of that name.
func FindClass(list []Class, name string) (Class, bool) {
	i := slices.IndexFunc(list, func(c Class) bool { return c.Name == name })
	if i < 0 {
		return Class{}, false
	}
	return list[i], true
}

// maxClassName bounds the name of a class.
const maxClassName = 255

// CheckClassName refuses what no exported class can be called.
func CheckClassName(name string) error {
	if name == "" || name == "default" || len(name) > maxClassName || strings.ContainsFunc(name, unicode.IsControl) {
		return fault.Newf(fault.Invalid, 10021, "%q is not the name of an exported class", name)
	}
	return nil
}
