package hop

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// pair returns both ends of a connection over a Unix socket, each a Conn.
func pair(t *testing.T) (*Conn, *Conn) {
	t.Helper()
	plain, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	l := Listener{plain}
	defer l.Close()
	c, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	a, b := NewConn(c).(*Conn), s.(*Conn)
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func TestConnCarriesWhateverSize(t *testing.T) {
	a, b := pair(t)
	for _, size := range []int{1, 1000, most, most + 1, 5 << 20} {
		sent := bytes.Repeat([]byte("0123456789"), size/10+1)[:size]
		wrote := make(chan error, 1)
		go func() {
			n, err := a.Write(sent)
			if err == nil && n != size {
				err = io.ErrShortWrite
			}
			wrote <- err
		}()
		got := make([]byte, size)
		if _, err := io.ReadFull(b, got); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if err := <-wrote; err != nil || !bytes.Equal(got, sent) {
			t.Fatalf("%d bytes: %v, or others came", size, err)
		}
	}
	for range 20 { // more than the buffers of a connection
		part := bytes.Repeat([]byte("abc"), 20_000)
		go a.writev([3][]byte{[]byte("head"), part, []byte("tail")})
		got := make([]byte, len(part)+8)
		if _, err := io.ReadFull(b, got); err != nil || string(got[:4]) != "head" || string(got[len(got)-4:]) != "tail" || !bytes.Equal(got[4:len(got)-4], part) {
			t.Fatalf("three parts: %v, or others came", err)
		}
	}
	a.CloseWrite()
	if n, err := b.Read(make([]byte, 8)); n != 0 || err != io.EOF {
		t.Errorf("after the end: %d, %v", n, err)
	}
}

func TestConnEndsWaits(t *testing.T) {
	a, b := pair(t)
	a.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if _, err := a.Read(make([]byte, 8)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read past its deadline: %v", err)
	}
	a.SetReadDeadline(time.Time{})
	ended := make(chan error, 1)
	go func() {
		_, err := a.Read(make([]byte, 8))
		ended <- err
	}()
	a.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("read of a closed connection: %v", err)
	}
	b.Write([]byte("x")) // the other end has gone: the first may still be taken
	if _, err := b.Write([]byte("x")); err == nil {
		t.Error("write to a closed connection: no error")
	}
}
