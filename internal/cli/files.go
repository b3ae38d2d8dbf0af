package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"atoll.dev/atoll/internal/wire"
)

// The files of a site's folder that say how the others are served, and the Worker that may be among them.
const (
	ignoreFile    = ".assetsignore"
	headersFile   = "_headers"
	redirectsFile = "_redirects"
	workerFile    = "_worker.js"
)

// maxAsset is the size of the largest file that a site may have; the API has the same limit.
const maxAsset = 25 << 20

// siteFiles is what is in a site's folder.
type siteFiles struct {
	manifest           map[string]wire.AssetsFile // by path on the site
	byHash             map[string]string          // a file of each content
	size               int64
	headers, redirects string
	worker             string // _worker.js, or empty
}

// readSite looks at all files of a folder, without those that .assetsignore names.
func readSite(dir string) (*siteFiles, error) {
	s := &siteFiles{manifest: map[string]wire.AssetsFile{}, byHash: map[string]string{}}
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		return nil, hint(fmt.Errorf("%s is no folder", dir), "name the folder with the site's files, such as dist or public")
	}
	patterns, err := readText(filepath.Join(dir, ignoreFile))
	if err != nil {
		return nil, err
	}
	if s.headers, err = readText(filepath.Join(dir, headersFile)); err != nil {
		return nil, err
	}
	if s.redirects, err = readText(filepath.Join(dir, redirectsFile)); err != nil {
		return nil, err
	}
	skip := parseIgnore(patterns)
	err = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil || rel == "." {
			return err
		}
		name := filepath.ToSlash(rel)
		switch {
		case d.IsDir() && skip.match(name, true):
			return fs.SkipDir
		case d.IsDir(), name == ignoreFile, name == headersFile, name == redirectsFile, skip.match(name, false):
			return nil
		case name == workerFile:
			s.worker = p
			return nil
		}
		return s.add(p, "/"+name)
	})
	if err != nil {
		return nil, fmt.Errorf("read site: %w", err)
	}
	return s, nil
}

func readText(file string) (string, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(b), err
}

// add notes a file by the hash of its content.
func (s *siteFiles) add(file, path string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat() // of what a symbolic link leads to
	if err != nil || !st.Mode().IsRegular() {
		return err
	}
	if st.Size() > maxAsset {
		return hint(fmt.Errorf("%s has %s: at most 25 MiB are allowed", file, bytesOf(st.Size())), "leave it out with a line in %s, and serve it from elsewhere", ignoreFile)
	}
	sum := sha256.New()
	n, err := io.Copy(sum, f)
	if err != nil {
		return err
	}
	hash := hex.EncodeToString(sum.Sum(nil))[:32]
	s.manifest[path] = wire.AssetsFile{Hash: hash, Size: n}
	s.byHash[hash] = file
	s.size += n
	return nil
}

// bytesOf shows a number of bytes.
func bytesOf(n int64) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d bytes", n)
}
