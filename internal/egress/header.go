package egress

import (
	"net/http"
	"strconv"
	"strings"

	"atoll.dev/atoll/internal/hop"
)

// maxHeader bounds all headers of a subrequest, and of its answer:
// https://developers.cloudflare.com/workers/platform/limits/#request-and-response-limits
const maxHeader = 128 << 10

// credentials are the cf- headers by which a client of Cloudflare's services says who it is. All others are Cloudflare's
// own words about a request.
// https://developers.cloudflare.com/cloudflare-one/access-controls/service-credentials/service-tokens/
var credentials = map[string]bool{"Cf-Access-Client-Id": true, "Cf-Access-Client-Secret": true, "Cf-Access-Token": true, "Cf-Aig-Authorization": true}

// Clean returns the headers of a subrequest as another Worker or an origin may see them: without those by which a proxy
// speaks, which code could only forge.
func Clean(h http.Header) http.Header {
	out := hop.Clean(h)
	for name := range out {
		if forgeable(name) && !credentials[name] {
			delete(out, name)
		}
	}
	return out
}

// forgeable tells whether a header is one of a proxy's. Servers that hand headers on as variables take "_" for "-".
func forgeable(name string) bool {
	if strings.Contains(name, "_") {
		name = http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))
	}
	return strings.HasPrefix(name, "Cf-") || strings.HasPrefix(name, hop.Internal) || name == "True-Client-Ip" || name == "Expect"
}

// outgoing returns the headers of a subrequest as its origin is to see them.
func (g *Gate) outgoing(h http.Header, hops int) http.Header {
	out := Clean(h)
	if g.opts.Zone != "" {
		// https://developers.cloudflare.com/fundamentals/reference/http-headers/#cf-worker
		out["Cf-Worker"] = []string{g.opts.Zone}
	}
	out[loopHeader] = []string{markLoop(out[loopHeader], hops)}
	if _, ok := out["User-Agent"]; !ok {
		out["User-Agent"] = nil // not Go's own
	}
	return out
}

func headerSize(h http.Header) int {
	n := 0
	for name, values := range h {
		for _, v := range values {
			n += len(name) + len(v) + 4
		}
	}
	return n
}

// Nodes count in this header how many Workers have called one another, so that a call which leaves a node and comes back
// through an edge is not taken for a new one (RFC 8586).
const (
	loopHeader = "Cdn-Loop"
	loopName   = "atoll"
	loopCount  = "hops"
)

// markLoop replaces the node's own element of the header.
func markLoop(values []string, hops int) string {
	var b strings.Builder
	for _, v := range values {
		for element := range strings.SplitSeq(v, ",") {
			if element = strings.TrimSpace(element); element == "" || loopIs(element) {
				continue
			}
			b.WriteString(element)
			b.WriteString(", ")
		}
	}
	return b.String() + loopName + "; " + loopCount + "=" + strconv.Itoa(hops)
}

func loopIs(element string) bool {
	name, _, _ := strings.Cut(element, ";")
	return strings.EqualFold(strings.TrimSpace(name), loopName)
}

// maxLoop bounds what is believed of a client's count, so that sums stay small.
const maxLoop = 1 << 16

// Loops returns how many Workers have called one another before a request that came in from outside. Any client may claim
// any number, and harms its own request only.
func Loops(h http.Header) int {
	most := 0
	for _, v := range h[loopHeader] {
		for element := range strings.SplitSeq(v, ",") {
			if !loopIs(element) {
				continue
			}
			for param := range strings.SplitSeq(element, ";") {
				name, value, _ := strings.Cut(param, "=")
				if n, err := strconv.Atoi(strings.TrimSpace(value)); err == nil && strings.EqualFold(strings.TrimSpace(name), loopCount) {
					most = max(most, min(n, maxLoop))
				}
			}
		}
	}
	return most
}
