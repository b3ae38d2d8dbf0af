package upload

import (
	"compress/gzip"
	"io"
	"mime"
	"path"
	"strconv"
	"strings"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
)

// assemble names and types the form's modules by the metadata.
func assemble(f *form, md *Metadata, lim Limits) (*Upload, error) {
	up := &Upload{Metadata: *md, HasModules: len(f.parts) > 0}
	entry := md.MainModule + md.BodyPart // never both
	if entry == "" && up.HasModules {
		return nil, fault.New(fault.Invalid, 10021, "metadata must name the entry of the uploaded modules: main_module or body_part")
	}
	names, blobs := f.names(), blobParts(md)
	if entry != "" {
		i := f.find(entry)
		if i < 0 {
			return nil, f.noSuchModule(entry)
		}
		names[i] = entry
	}
	for part := range blobs {
		if i := f.find(part); i >= 0 && names[i] != entry {
			names[i] = part
		}
	}
	seen := map[string]bool{}
	for i, p := range f.parts {
		if err := atoll.CheckModuleName(names[i]); err != nil {
			return nil, err
		}
		clean := atoll.CleanModuleName(names[i])
		if seen[clean] {
			return nil, fault.Newf(fault.Invalid, 10021, "the module %q was uploaded twice", names[i])
		}
		seen[clean] = true
		file := File{Name: names[i], ContentType: p.contentType, Data: p.data}
		var err error
		if file.Type, err = moduleType(file, *md, blobs[names[i]]); err != nil {
			return nil, err
		}
		up.Modules = append(up.Modules, file)
	}
	return up, checkSize(up.Modules, lim)
}

// names are the modules' names: a part's file name, or its own where it has none.
func (f *form) names() []string {
	names := make([]string, len(f.parts))
	for i, p := range f.parts {
		if names[i] = p.filename; p.filename == "" {
			names[i] = p.name
		}
	}
	return names
}

// find returns the part that the metadata calls name, -1 where there is none. The file name counts first, then the
// part's own: templates send name="script" filename="customer.mjs", wrangler sends name="NOTE" filename="src/note.txt".
// SDK 7 strips the folders of file names, and "./" may come or go.
func (f *form) find(name string) int {
	clean, base := path.Clean(name), path.Base(name)
	for _, is := range []func(part) bool{
		func(p part) bool { return p.filename == name },
		func(p part) bool { return p.name == name },
		func(p part) bool { return p.filename != "" && path.Clean(p.filename) == clean },
		func(p part) bool { return p.filename == base },
	} {
		for i, p := range f.parts {
			if is(p) {
				return i
			}
		}
	}
	return -1
}

// noSuchModule is the error for an entry that was not uploaded. SDK 5 and 6 turn a map of files into one JSON part,
// which Cloudflare names.
func (f *form) noSuchModule(name string) error {
	for _, p := range f.parts {
		if mt := mediaType(p.contentType); p.name == "files" && mt == "application/json" {
			return fault.Newf(fault.Invalid, 10021, "module %s has unsupported Content-Type %s", p.name, mt)
		}
	}
	return fault.Newf(fault.Invalid, 10021, "No such module %q.", name)
}

// blobParts maps the parts that bindings refer to, to the types of modules the bindings make them.
func blobParts(md *Metadata) map[string]atoll.ModuleType {
	parts := map[string]atoll.ModuleType{}
	for _, b := range md.Bindings {
		if t := BlobType(b.Type); t != "" {
			parts[BlobPart(b)] = t
		}
	}
	return parts
}

// BlobType returns the type of the module that a binding of type bindingType is to, "" where it is to none.
func BlobType(bindingType string) atoll.ModuleType {
	switch bindingType {
	case "text_blob":
		return atoll.Text
	case "data_blob":
		return atoll.Data
	case "wasm_module":
		return atoll.Wasm
	}
	return ""
}

// byType are the content types of modules
// (https://developers.cloudflare.com/workers/configuration/multipart-upload-metadata/).
var byType = map[string]atoll.ModuleType{
	"application/javascript+module": atoll.ESModule,
	"text/javascript+module":        atoll.ESModule,
	"application/javascript":        atoll.CommonJS,
	"text/javascript":               atoll.CommonJS,
	"application/wasm":              atoll.Wasm,
	"text/plain":                    atoll.Text,
	"application/octet-stream":      atoll.Data,
	"application/json":              atoll.JSON,
	"application/source-map":        atoll.SourceMap,
}

// byExtension are the types of parts that were sent without one.
var byExtension = map[string]atoll.ModuleType{
	".js": atoll.ESModule, ".mjs": atoll.ESModule, ".cjs": atoll.CommonJS, ".json": atoll.JSON, ".map": atoll.SourceMap,
	".txt": atoll.Text, ".html": atoll.Text, ".sql": atoll.Text, ".wasm": atoll.Wasm, ".bin": atoll.Data,
}

// moduleType returns how a module is to be loaded. blob is its type where a binding refers to it.
func moduleType(file File, md Metadata, blob atoll.ModuleType) (atoll.ModuleType, error) {
	mt := mediaType(file.ContentType)
	t, known := byType[mt]
	if mt == "" {
		t, known = byExtension[path.Ext(file.Name)]
	}
	isEntry := file.Name == md.MainModule || file.Name == md.BodyPart
	switch {
	case blob != "" && !isEntry:
		return blob, nil
	case isEntry && (mt == "" || t == atoll.ESModule || t == atoll.CommonJS || t == atoll.Data || t == atoll.Text):
		// What kind of script the entry is, the metadata says. FormData makes application/octet-stream of a file
		// without a type, curl of one with a name it does not know.
		if file.Name == md.MainModule {
			return atoll.ESModule, nil
		}
		return atoll.CommonJS, nil
	case isEntry || !known && mt != "":
		return "", fault.Newf(fault.Invalid, 10021, "module %s has unsupported Content-Type %s", file.Name, mt)
	case !known:
		return "", fault.Newf(fault.Invalid, 10021, "module %s has no Content-Type, and its name does not tell its type", file.Name)
	}
	return t, nil
}

func isSourceMap(p part) bool {
	mt := mediaType(p.contentType)
	return byType[mt] == atoll.SourceMap || mt == "" && path.Ext(p.filename) == ".map"
}

// mediaType is a content type without its parameters.
func mediaType(contentType string) string {
	mt, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		mt = strings.ToLower(strings.TrimSpace(strings.SplitN(contentType, ";", 2)[0]))
	}
	return mt
}

// checkSize refuses modules that are too large together. Source maps do not count.
func checkSize(files []File, lim Limits) error {
	plain := int64(0)
	for _, f := range files {
		if f.Type != atoll.SourceMap {
			plain += int64(len(f.Data))
		}
	}
	if plain > lim.Plain {
		return scriptTooLarge(lim.Plain, "before compression")
	}
	if plain <= lim.Compressed { // gzip never needs so much more that it matters
		return nil
	}
	size := counter(0)
	zw := gzip.NewWriter(&size)
	for _, f := range files {
		if f.Type == atoll.SourceMap {
			continue
		}
		if _, err := zw.Write(f.Data); err != nil {
			return err // never: counter takes everything
		}
	}
	if err := zw.Close(); err != nil {
		return err
	}
	if int64(size) > lim.Compressed {
		return scriptTooLarge(lim.Compressed, "compressed")
	}
	return nil
}

// counter counts the bytes written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

var _ io.Writer = (*counter)(nil)

func scriptTooLarge(max int64, how string) error {
	return fault.Newf(fault.TooLarge, 10027, "Your Worker exceeded the size limit of %s (%s, without source maps).", mega(max), how)
}

// mega writes a number of bytes as error messages give it.
func mega(n int64) string {
	if n < 1<<20 || n%(1<<20) != 0 {
		return strconv.FormatInt(n, 10) + " bytes"
	}
	return strconv.FormatInt(n>>20, 10) + " MB"
}
