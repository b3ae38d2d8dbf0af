package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"syscall"
)

// refusal is why the node, and not the network, keeps a Worker from a destination.
type refusal string

func (r refusal) Error() string { return string(r) }

const (
	// ErrForbidden says that a destination is not one that Workers may reach.
	ErrForbidden refusal = "the destination is not a public address"
	// ErrRules says that a namespace's or a script's rules, or the node's ports, refuse a destination.
	ErrRules refusal = "the destination is not allowed to this Worker"
	// ErrSockets says that a Worker may make no raw connections.
	ErrSockets refusal = "connect() is not allowed to this Worker"

	errMalformed   refusal = "malformed destination"
	errLargeHeader refusal = "the headers are too large"
	errBusy        refusal = "too many open connections"
)

// errNoName says that a name has no address that may be reached.
var errNoName = errors.New("the name has no public address")

// Reason is what a Worker is told of a failed subrequest: why, but nothing of the node's network.
func Reason(err error) string {
	var dns *net.DNSError
	var timeout net.Error
	var untrusted *tls.CertificateVerificationError
	var why refusal
	switch {
	case errors.As(err, &why):
		return "Network connection refused: " + why.Error() + "."
	case errors.Is(err, errNoName), errors.As(err, &dns) && dns.IsNotFound:
		return "DNS lookup failed: the name has no public address."
	case errors.As(err, &dns):
		return "DNS lookup failed."
	case errors.As(err, &untrusted):
		return "TLS handshake failed: the certificate is not valid for this host."
	case errors.Is(err, syscall.ECONNREFUSED):
		return "Network connection refused."
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "Network connection timed out."
	}
	return "Network connection lost."
}
