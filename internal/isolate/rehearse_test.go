package isolate

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/prefault"
	"atoll.dev/atoll/internal/sandbox"
	"atoll.dev/atoll/internal/workerd/workerdtest"
)

// A spare that has been warmed has in its page tables most of what the rehearsal's process had.
func TestRehearsal(t *testing.T) {
	bin := workerdtest.Binary(t)
	lg := slog.New(slog.NewTextHandler(t.Output(), nil))
	box, err := sandbox.New(sandbox.Options{Log: lg})
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "atoll-test-") // t.TempDir's path is too long for a socket's
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { box.Close(); os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	f, err := New(lg, bin, box, http.NotFoundHandler(), Options{Dir: filepath.Join(dir, "run")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- f.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	pages, err := f.touched(ctx)
	if err != nil {
		t.Fatal(err)
	}
	f.pages.Store(new(prefault.Pages)) // of none
	cold := warmed(t, f)
	f.pages.Store(pages)
	if warm := warmed(t, f); warm < 2*cold {
		t.Errorf("a warmed spare has %d pages of files, another one %d", warm, cold)
	}
}

// warmed starts a spare, warms it and returns how many pages of files it has then.
func warmed(t *testing.T, f *Factory) int {
	t.Helper()
	s, err := f.spawn(f.opts.Memory, false, disks{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.proc.Kill()
	f.warm(s)
	b, err := os.ReadFile("/proc/" + strconv.Itoa(s.proc.Pid()) + "/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(b))[2]) // shared: proc_pid_statm(5)
	if err != nil {
		t.Fatal(err)
	}
	return pages
}
