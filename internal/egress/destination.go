package egress

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// destination is where a subrequest wants to go.
type destination struct {
	host    string // lower case, without a final dot; an address without brackets
	port    uint16
	address netip.Addr // where host is an address
}

// parseDestination reads "host" or "host:port". fallback is the port where there is none; 0 requires one.
func parseDestination(authority string, fallback uint16) (destination, error) {
	host, port := authority, ""
	if i := strings.LastIndexByte(authority, ':'); i >= 0 && strings.IndexByte(authority[i:], ']') < 0 {
		host, port = authority[:i], authority[i+1:]
	}
	to := destination{port: fallback}
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return to, fmt.Errorf("%w: port %q", errMalformed, port)
		}
		to.port = uint16(n)
	}
	if to.port == 0 {
		return to, fmt.Errorf("%w: no port", errMalformed)
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		a, err := netip.ParseAddr(inner)
		if !ok || err != nil || !a.Is6() || a.Zone() != "" {
			return to, fmt.Errorf("%w: %q is no IPv6 address", errMalformed, host)
		}
		to.host, to.address = a.String(), a
		return to, nil
	}
	if a, err := netip.ParseAddr(host); err == nil {
		if !a.Is4() {
			return to, fmt.Errorf("%w: an IPv6 address needs brackets", errMalformed)
		}
		to.host, to.address = a.String(), a
		return to, nil
	}
	var err error
	to.host, err = hostName(host)
	return to, err
}

// hostName returns a DNS name in lower case without a final dot. Names that end in a number are none: programs read them
// as addresses in notations of their own ("127.1", "0x7f000001"), and so does https://url.spec.whatwg.org/#ends-in-a-number-checker.
func hostName(s string) (string, error) {
	s = strings.ToLower(strings.TrimSuffix(s, "."))
	if s == "" || len(s) > 253 {
		return "", fmt.Errorf("%w: no host", errMalformed)
	}
	last := s
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 {
			return "", fmt.Errorf("%w: %q is no host name", errMalformed, s)
		}
		last = label
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return "", fmt.Errorf("%w: %q is no host name", errMalformed, s)
		}
	}
	if numeric(last) {
		return "", fmt.Errorf("%w: %q ends in a number", errMalformed, s)
	}
	return s, nil
}

func numeric(label string) bool {
	hex, ok := strings.CutPrefix(label, "0x")
	if ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}

// authority is the destination as "host:port".
func (d destination) authority() string { return net.JoinHostPort(d.host, strconv.Itoa(int(d.port))) }
