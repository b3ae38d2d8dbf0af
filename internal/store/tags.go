package store

// TagTerm is one term of a tag filter: the script has the tag, or has it not.
type TagTerm struct {
	Tag  string
	Want bool
}

// ParseTagFilter parses "a:yes,b:no". The empty string is the empty filter.
func ParseTagFilter(s string) ([]TagTerm, error) { return nil, errTodo }
