package assets

import (
	_ "embed"
	"path"
	"strings"
)

// typeTable has a content type and its extensions on each line.
//
//go:embed types.txt
var typeTable string

// types is typeTable by extension.
var types = func() map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(typeTable) {
		if f := strings.Fields(line); len(f) > 0 {
			for _, ext := range f[1:] {
				m[ext] = f[0]
			}
		}
	}
	return m
}()

// typeOf is the content type of a file that was uploaded without one, by its name, as wrangler would send it: with a
// charset where it is text. Empty: nobody knows.
func typeOf(name string) string {
	t := types[strings.ToLower(strings.TrimPrefix(path.Ext(name), "."))]
	if strings.HasPrefix(t, "text/") {
		t += "; charset=utf-8"
	}
	return t
}
