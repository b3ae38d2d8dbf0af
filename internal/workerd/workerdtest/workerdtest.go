// Package workerdtest gives tests the pinned workerd, and processes of it that end with the test. It is for tests alone,
// and knows nothing of sandboxes: a test of one starts workerd through package sandbox.
//
// Its functions may be called from tests that run in parallel.
package workerdtest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"atoll.dev/atoll/internal/workerd"
)

// Binary returns the workerd that ATOLL_WORKERD names, else the one that npm installed in the module's folder "engine".
func Binary(t testing.TB) workerd.Binary {
	t.Helper()
	path := os.Getenv("ATOLL_WORKERD")
	for dir, _ := os.Getwd(); path == "" && dir != "/"; dir = filepath.Dir(dir) {
		if found, _ := filepath.Glob(filepath.Join(dir, "engine/node_modules/@cloudflare/workerd-*/bin/workerd")); found != nil {
			path = found[0]
		}
	}
	bin, err := workerd.Find(path)
	if err != nil {
		t.Fatalf("%v; or set ATOLL_WORKERD", err)
	}
	return bin
}

// Listen makes a Unix socket for a process to listen on; the file it is at stays when the socket is closed.
func Listen(t testing.TB, path string) *os.File {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.SetUnlinkOnClose(false)
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Server is a running workerd.
type Server struct {
	sockets map[string]string // name to path
	process *os.Process
	stderr  bytes.Buffer
	exited  chan struct{}
}

// Serve starts workerd with cfg, its sockets listening on Unix sockets in a directory of the test.
func Serve(t testing.TB, cfg workerd.Config, args ...string) *Server {
	t.Helper()
	msg, err := workerd.Encode(cfg)
	if err != nil {
		t.Fatalf("encode: %v", err)
	}
	s, cmd := command(t, append([]string{"serve", "--binary", "-"}, args...)...)
	cmd.Stdin = bytes.NewReader(msg)
	dir := socketDir(t)
	for i, sock := range cfg.Sockets {
		path := filepath.Join(dir, sock.Name)
		f := Listen(t, path)
		defer f.Close()
		s.sockets[sock.Name] = path
		cmd.Args = append(cmd.Args, "--socket-fd", sock.Name+"="+strconv.Itoa(3+i))
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	s.start(t, cmd)
	return s
}

// ServeDir starts workerd with a copy of dir, which has a config.capnp and an empty directory disk beside it. The
// configuration finds handler at unix:ours.sock, and its own socket, unix:main.sock, is the one called "main".
func ServeDir(t testing.TB, dir string, handler http.Handler) *Server {
	t.Helper()
	own := socketDir(t)
	if err := os.CopyFS(own, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(own, "disk"), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(own, "ours.sock"))
	if err != nil {
		t.Fatal(err)
	}
	ours := &http.Server{Handler: handler}
	go ours.Serve(l)
	t.Cleanup(func() { ours.Close() })
	s, cmd := command(t, "serve", "--experimental", "config.capnp")
	cmd.Dir = own
	s.sockets["main"] = filepath.Join(own, "main.sock")
	s.start(t, cmd)
	return s
}

func command(t testing.TB, args ...string) (*Server, *exec.Cmd) {
	t.Helper()
	s := &Server{sockets: map[string]string{}, exited: make(chan struct{})}
	cmd := exec.Command(Binary(t).Path, args...)
	cmd.Stderr, cmd.Env = &s.stderr, []string{}
	return s, cmd
}

func (s *Server) start(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatalf("start workerd: %v", err)
	}
	s.process = cmd.Process
	go func() { cmd.Wait(); close(s.exited) }()
	t.Cleanup(func() {
		if stderr := s.Stop(); t.Failed() {
			t.Logf("workerd's stderr:\n%.4000s", stderr)
		}
	})
}

// socketDir makes a directory for Unix sockets, whose paths have at most 107 bytes: t.TempDir may be longer.
func socketDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "wd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Client returns a client that reaches the socket of that name, whatever the URL's host.
func (s *Server) Client(t testing.TB, socket string) *http.Client {
	path := s.sockets[socket]
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return s.dialSoon(ctx, path)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// dialSoon connects to a socket that the process may be about to make.
func (s *Server) dialSoon(ctx context.Context, path string) (net.Conn, error) {
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
		if err == nil {
			return conn, nil
		}
		select {
		case <-s.exited:
			return nil, fmt.Errorf("workerd exited: %w", err)
		case <-ctx.Done():
			return nil, err
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Stderr waits until the process ends by itself and returns what it wrote.
func (s *Server) Stderr() []byte {
	<-s.exited
	return s.stderr.Bytes()
}

// Stop ends the process and returns what it wrote to stderr.
func (s *Server) Stop() []byte {
	s.process.Kill() // fails where the process has ended, which is as good
	return s.Stderr()
}
