package r2

import "time"

// Condition is what must hold for an operation to happen (RFC 9110, section 13, as R2 reads it).
type Condition struct {
	Match     []ETag // nil: not asked
	NoneMatch []ETag
	Before    *time.Time // uploaded before
	After     *time.Time
	Seconds   bool // compare times by whole seconds: they come from headers
}

// ETag is one of a condition's.
type ETag struct {
	Value string
	Weak  bool
	Any   bool // "*"
}

// matches compares with the etag of an object, which is a strong one.
func matches(list []ETag, etag string, weak bool) bool {
	for _, e := range list {
		if e.Any || e.Value == etag && (weak || !e.Weak) {
			return true
		}
	}
	return false
}

// Holds tells whether c holds for an object, nil where there is none.
func (c *Condition) Holds(o *Object) bool {
	if c == nil {
		return true
	}
	if o == nil {
		return c.Match == nil && c.After == nil
	}
	match := c.Match == nil || matches(c.Match, o.ETag, false)
	noneMatch := c.NoneMatch == nil || !matches(c.NoneMatch, o.ETag, true)
	round := func(t time.Time) time.Time {
		if c.Seconds {
			return t.Truncate(time.Second)
		}
		return t
	}
	uploaded := round(o.Uploaded)
	after := c.After == nil || round(*c.After).Before(uploaded) || c.NoneMatch != nil && noneMatch
	before := c.Before == nil || uploaded.Before(round(*c.Before)) || c.Match != nil && match
	return match && noneMatch && after && before
}
