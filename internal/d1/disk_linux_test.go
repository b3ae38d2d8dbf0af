package d1

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// smallDisk mounts a file system of that size, which takes root.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size)
	if errors.Is(err, unix.EPERM) && os.Getenv("ATOLL_E2E") != "all" {
		t.Skip("only root may mount")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}
