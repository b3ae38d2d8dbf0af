package objects

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// List returns the ids of a class's objects that have stored something, in order, after an id, and whether there are more.
func (s *Store) List(class, after string, limit int) (ids []string, more bool, err error) {
	if !isID(class) {
		return nil, false, fmt.Errorf("%q is not the id of a class", class)
	}
	dir, err := os.Open(s.dir(class))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("list objects of class %s: %w", class, err)
	}
	defer dir.Close()
	for {
		entries, err := dir.ReadDir(1024)
		for _, e := range entries {
			if id, ok := strings.CutSuffix(e.Name(), ".sqlite"); ok && isObject(id) && id > after {
				ids = append(ids, id)
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, false, fmt.Errorf("list objects of class %s: %w", class, err)
		}
		if len(ids) > 2*limit+1024 { // those that come first are all that is needed
			slices.Sort(ids)
			ids = ids[:limit+1]
		}
	}
	slices.Sort(ids)
	if len(ids) > limit {
		return ids[:limit], true, nil
	}
	return ids, false, nil
}

// isObject tells whether a name is the id of an object, 64 hexadecimal digits. Facets of objects have other names.
func isObject(id string) bool { return len(id) == 64 && strings.Trim(id, "0123456789abcdef") == "" }
