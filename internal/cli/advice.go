package cli

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"

	"atoll.dev/atoll/internal/client"
	"atoll.dev/atoll/internal/fault"
)

// This file knows errors that come from elsewhere: what a person should read for them, and what to do about them.

// text is an error as a person reads it. A message of the API that is a name for programs gets its meaning.
func text(err error) string {
	s := err.Error()
	for name, meaning := range meanings {
		s = strings.ReplaceAll(s, name, meaning)
	}
	return s
}

// meanings are of the names that Cloudflare's API has for messages, and therefore a node's.
var meanings = map[string]string{
	"workers.api.error.dispatch_namespace_not_found": "This dispatch namespace does not exist.",
	"workers.api.error.script_not_found":             "This Worker does not exist in the dispatch namespace.",
	"workers.api.error.service_not_found":            "This Worker does not exist on your account.",
}

// advice is what to do about an error, "" where it says enough itself.
func advice(err error) string {
	var gone *client.Unreachable
	var other *client.Foreign
	var address *net.AddrError
	switch {
	case errors.Is(err, context.Canceled):
		return ""
	case errors.Is(err, syscall.EADDRINUSE):
		return "another program listens there, perhaps another node: choose addresses with --edge and --api"
	case errors.Is(err, syscall.EWOULDBLOCK):
		return "stop the node that uses this directory, or choose another with --data"
	case errors.As(err, &gone):
		return "is the node running? Start it with 'atoll serve', or say where it is with --api or ATOLL_API"
	case errors.As(err, &other):
		return "give --api the REST API's address, not the edge's: 'atoll serve' prints both"
	case errors.As(err, &address):
		return "an address is HOST:PORT, such as 127.0.0.1:8080, or :8080 for every interface"
	}
	if f := fault.Of(err); f != nil {
		return adviceFor(f)
	}
	return ""
}

// adviceFor is advice for a refusal of the API.
func adviceFor(f *fault.Error) string {
	switch f.Code {
	case 100119:
		return "'atoll namespace list' shows the dispatch namespaces, 'atoll namespace create NAME' makes one"
	case 10092:
		return "'atoll script list --namespace NAME' shows the user Workers of a namespace"
	case 10007, 10090:
		return "'atoll script list' shows the account's Workers; a user Worker needs --namespace NAME"
	}
	switch f.Kind {
	case fault.Unauthenticated:
		return "the node does not know this token: look into api-token in its data directory, or make one with 'atoll token create'"
	case fault.Forbidden:
		return "the token may not do this: 'atoll token create NAME' with the node's first token makes one that may"
	}
	return ""
}
