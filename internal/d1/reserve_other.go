//go:build !linux

package d1

import "os"

// reserve does nothing: other systems cannot reserve space without changing the size.
func reserve(*os.File, int64) error { return nil }
