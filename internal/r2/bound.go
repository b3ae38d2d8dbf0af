package r2

import (
	"encoding/json"
	"errors"

	"atoll.dev/atoll/internal/fault"
)

// The lists of a message. They are counted before anything is made of them: two bytes of JSON can become an element of fifty.
type (
	objectList  []string
	fieldList   []Field
	etagList    []messageETag
	includeList []int
	partList    []messagePart
)

type messagePart struct {
	ETag string `json:"etag"`
	Part int    `json:"part"`
}

const (
	// maxFields is how many fields of its own an object may come with: more have more than maxMetadata bytes, unless they are
	// empty.
	maxFields = 8192
	// maxTags is how many ETags a condition may name. A header of as many would be larger than any.
	maxTags = 4096
)

// tooMany refuses a message for the length of one of its lists.
type tooMany struct{ why *fault.Error }

func (t tooMany) Error() string { return t.why.Message }

func (l *objectList) UnmarshalJSON(b []byte) error {
	return readBounded(b, (*[]string)(l), MaxDelete, func(n int) *fault.Error {
		return fault.Newf(fault.Invalid, CodeArgument, "At most %d objects can be deleted at once, not %d.", MaxDelete, n)
	})
}

func (l *partList) UnmarshalJSON(b []byte) error {
	return readBounded(b, (*[]messagePart)(l), MaxParts, func(int) *fault.Error { return fault.Of(errInvalidPart()) })
}

func (l *fieldList) UnmarshalJSON(b []byte) error {
	return readBounded(b, (*[]Field)(l), maxFields, func(int) *fault.Error { return fault.Of(errMetadata()) })
}

func (l *etagList) UnmarshalJSON(b []byte) error {
	return readBounded(b, (*[]messageETag)(l), maxTags, func(n int) *fault.Error {
		return fault.Of(errArgument("At most %d ETags can be named in a condition, not %d.", maxTags, n))
	})
}

func (l *includeList) UnmarshalJSON(b []byte) error {
	return readBounded(b, (*[]int)(l), 16, func(int) *fault.Error { return fault.Of(errArgument("Metadata missing or invalid")) })
}

// readBounded reads a list of no more than most elements.
func readBounded[T any](b []byte, list *[]T, most int, refuse func(n int) *fault.Error) error {
	if n := elements(b); n > most {
		return tooMany{refuse(n)}
	}
	return json.Unmarshal(b, list)
}

// elements counts the elements of a list of valid JSON, or more where the list is empty.
func elements(b []byte) int {
	n, depth, quoted := 1, 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			depth++
		case c == ']' || c == '}':
			depth--
		case c == ',' && depth == 1:
			n++
		}
	}
	return n
}

// refusal is what of an error of json.Unmarshal tells more than that the message is invalid.
func refusal(err error) error {
	var many tooMany
	if errors.As(err, &many) {
		return many.why
	}
	return nil
}
