package queue

import (
	"regexp"

	"atoll.dev/atoll/internal/fault"
)

// The error codes of Cloudflare's Queues API, as far as its clients show them.
const (
	codeNotFound         = 11000
	codeNoHandler        = 11001
	codeBadName          = 11003
	codeConsumerExists   = 11004
	codeInUse            = 11005
	codeNameTaken        = 11009
	codeMessage          = 10021 // a message or a request that is not valid
	codeFull             = 10048 // the quota, with the code that KV has for it
	codeConsumerSettings = 100127
	codeQueueSettings    = 100128
)

// ID identifies a queue, or a consumer: 32 hexadecimal digits.
type ID string

// Name is a queue's name, unique in its account.
type Name string

var (
	ids   = regexp.MustCompile(`^[0-9a-f]{32}$`)
	names = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_-]{0,62}$`)
)

// ParseID returns s as the ID of a queue or a consumer.
func ParseID(s string) (ID, error) {
	if !ids.MatchString(s) {
		return "", errNotFound()
	}
	return ID(s), nil
}

// ParseName returns s as a Name: up to 63 letters, digits, '-' and '_'.
func ParseName(s string) (Name, error) {
	if !names.MatchString(s) {
		return "", fault.New(fault.Invalid, codeBadName, "Queue name is invalid: it must have 1 to 63 letters, digits, '-' and '_', and begin with a letter or a digit.")
	}
	return Name(s), nil
}

func errNotFound() error { return fault.New(fault.NotFound, codeNotFound, "Queue not found.") }

func errConsumer() error { return fault.New(fault.NotFound, codeNotFound, "Consumer not found.") }
