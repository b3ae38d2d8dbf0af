package binding

import (
	"net/http"
	"strings"
	"testing"
)

func TestTakeTag(t *testing.T) {
	const header, protocols = "Atoll-Invocation", "Sec-Websocket-Protocol"
	for _, c := range []struct {
		name            string
		h               http.Header
		tag, protocolOf string
	}{
		{"none", http.Header{}, "", ""},
		{"fetch", http.Header{header: {"a"}}, "a", ""},
		{"fetch-without-invocation", http.Header{header: {""}, protocols: {"atoll-invocation.b"}}, "", ""},
		{"socket", http.Header{protocols: {"chat, atoll-invocation.a", "v2"}}, "a", "chat, v2"},
		{"socket-alone", http.Header{protocols: {"atoll-invocation.a"}}, "a", ""},
		{"clients-protocol-passed-on-by-fetch", http.Header{header: {"a"}, protocols: {"chat,atoll-invocation.b"}}, "a", "chat"},
		{"forged-before-ours", http.Header{protocols: {"atoll-invocation.forged, atoll-invocation.a"}}, "a", ""},
		{"other-protocols", http.Header{header: {"a"}, protocols: {"chat", "v2"}}, "a", "chat v2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if tag := takeTag(c.h); tag != c.tag {
				t.Errorf("tag %q, want %q", tag, c.tag)
			}
			if got := strings.Join(c.h[protocols], " "); got != c.protocolOf {
				t.Errorf("protocols left: %q, want %q", got, c.protocolOf)
			}
			if c.h[header] != nil {
				t.Error("the header is still there")
			}
		})
	}
}
