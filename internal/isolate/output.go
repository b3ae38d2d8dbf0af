package isolate

import (
	"bytes"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// DefaultLogBytes is what an invocation may write to its console, as on Cloudflare:
// https://developers.cloudflare.com/workers/platform/limits/#log-size
const DefaultLogBytes = 256 << 10

// The bound in js/console.js is the one that Workers meet. It estimates, and the engine writes by itself too (of every
// uncaught error, for one), so a hostile Worker can have its process write any amount. Reading all of that would cost the
// node about as much as writing it costs the Worker, and not reading it would make the process wait, which is no CPU time
// and so delays the end that the CPU limit brings. Hence the pipe does not block: what is written while it is full is lost
// to nobody, since only the end of it is ever looked at, and the node reads at its own pace.
const (
	pace  = 5 * time.Millisecond // between two reads of a process
	chunk = 32 << 10
)

// letOverflow makes writes to the process's end of its pipe fail while the pipe is full: the flag belongs to what the file
// descriptors of node and process share (open(2), "Open file descriptions").
func letOverflow(childEnd *os.File) error { return unix.SetNonblock(int(childEnd.Fd()), true) }

// drain reads what the process writes until it has ended, and keeps the end of it.
func (s *spare) drain(r io.Reader) {
	buf := make([]byte, chunk)
	for {
		n, err := r.Read(buf)
		s.output.Write(buf[:n])
		if err != nil {
			return
		}
		select {
		case <-time.After(pace):
		case <-s.proc.Done(): // what is left is in the pipe
		}
	}
}

// ring keeps the last bytes written to it.
type ring struct {
	mu   sync.Mutex
	data []byte
}

const ringSize = 16 << 10

func (r *ring) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(p)
	if n > ringSize {
		p = p[n-ringSize:]
	}
	r.data = append(r.data, p...)
	if over := len(r.data) - ringSize; over > 0 {
		r.data = append(r.data[:0], r.data[over:]...)
	}
	return n, nil
}

func (r *ring) Bytes() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Clone(r.data)
}
