package client

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// What a file is called must reach the server whole, whatever it is called: a quote or a newline in a name may not end
// its header.
func FuzzUploadKeepsNames(f *testing.F) {
	for _, s := range []string{"index.js", `a"b.js`, `a\b.js`, "lib/ä.js", "a;b=c", "../x", `\"`} {
		f.Add(s, "text")
	}
	f.Fuzz(func(t *testing.T, name, body string) {
		if !utf8.ValidString(name) || name == "" {
			t.Skip()
		}
		b, ctype, err := Upload{Files: []File{{Name: name, ContentType: "text/plain", Data: []byte(body)}}}.encode()
		if strings.ContainsFunc(name, unicode.IsControl) {
			if err == nil {
				t.Errorf("%q is not refused", name)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		got := parts(t, record{ctype: ctype, body: string(b)})
		if len(got) != 2 || got[1].File != name || got[1].Body != body {
			t.Errorf("%q became %+v", name, got)
		}
	})
}
