package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// progress is a bar on a terminal that shows how much of something is done. Elsewhere it writes nothing: what has been
// done in the end, the command says on stdout.
type progress struct {
	w     io.Writer // nil: no terminal
	total int64

	mu    sync.Mutex
	done  int64
	files int
	drawn time.Time
}

// newProgress returns a bar for that many bytes.
func newProgress(w io.Writer, total int64) *progress {
	p := &progress{total: max(total, 1)}
	if f, ok := w.(*os.File); ok {
		if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err == nil {
			p.w = w
		}
	}
	return p
}

// add notes that so many files of so many bytes together are done.
func (p *progress) add(files int, bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.files += files
	p.done += bytes
	if now := time.Now(); p.w != nil && now.Sub(p.drawn) > 50*time.Millisecond {
		p.drawn = now
		p.drawLocked()
	}
}

func (p *progress) drawLocked() {
	const width = 30
	full := int(min(p.done, p.total) * width / p.total)
	fmt.Fprintf(p.w, "\r[%s%s] %d files, %s of %s\x1b[K", strings.Repeat("#", full), strings.Repeat("-", width-full), p.files, bytesOf(p.done), bytesOf(p.total))
}

// end takes the bar away.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.w != nil && !p.drawn.IsZero() {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
