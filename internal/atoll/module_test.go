package atoll

import (
	"strings"
	"testing"

	"atoll.dev/atoll/internal/fault"
)

func TestCheckModuleName(t *testing.T) {
	for _, name := range []string{"a.js", "./a.js", "lib/a.mjs", "a/../b.js", "@scope/a.js", "a b?#%20.js", "ä", "...", ".a", "..a/b", "x/",
		"./0123-note.txt", "atoll.js", "lib/atoll-prelude.js", "a/b:c", "1:2", strings.Repeat("a", 1024)} {
		if err := CheckModuleName(name); err != nil {
			t.Errorf("%q is refused: %v", name, err)
		}
	}
	for name, want := range map[string]string{
		"": "1 to 1024 bytes", strings.Repeat("a", 1025): "1 to 1024 bytes", "a\nb": "control characters", "a\x00": "control characters", "\xff": "UTF-8",
		"/a.js": "slash", "//a": "slash", "/": "slash",
		"..": "lead out", "../a.js": "lead out", "a/../../b.js": "lead out", "./..": "lead out",
		".": "no file", "./": "no file", "a/..": "no file",
		"node:async_hooks": "URL", "./node:async_hooks": "URL", "a/../node:fs": "URL", "cloudflare:workers": "URL", "atoll:sockets": "URL",
		"https://x.test/a.js": "URL", "file:///a": "URL", "c:\\a": "URL", "Node:fs": "URL",
		"atoll-wrapper.js": "platform's own", "./atoll-prelude.js": "platform's own", "a/../atoll-errors.js": "platform's own",
		"atoll-serviceworker.js": "platform's own", "atoll-main.js": "platform's own", "atoll-globals.js/": "platform's own",
	} {
		f := fault.Of(CheckModuleName(name))
		if f == nil || f.Kind != fault.Invalid || f.Code != 10021 || !strings.Contains(f.Message, want) {
			t.Errorf("%q: %v, want a word of %q", name, f, want)
		}
	}
}
