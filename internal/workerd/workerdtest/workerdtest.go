// Package workerdtest gives tests the pinned workerd, and processes of it that end with the test. It is for tests alone,
// and knows nothing of sandboxes: a test of one starts workerd through package sandbox.
//
// Its functions may be called from tests that run in parallel.
package workerdtest

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

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

// Server is a running workerd.
type Server struct {
	sockets map[string]string // name to path
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
	s := &Server{sockets: map[string]string{}, exited: make(chan struct{})}
	cmd := exec.Command(Binary(t).Path, append([]string{"serve", "--binary", "-"}, args...)...)
	cmd.Stdin, cmd.Stderr, cmd.Env = bytes.NewReader(msg), &s.stderr, []string{}
	dir, err := os.MkdirTemp("", "wd") // t.TempDir may be longer than the 107 bytes of a Unix socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for i, sock := range cfg.Sockets {
		path := filepath.Join(dir, sock.Name)
		f := listen(t, path)
		defer f.Close()
		s.sockets[sock.Name] = path
		cmd.Args = append(cmd.Args, "--socket-fd", sock.Name+"="+strconv.Itoa(3+i))
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start workerd: %v", err)
	}
	go func() { cmd.Wait(); close(s.exited) }()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-s.exited
		if t.Failed() {
			t.Logf("workerd's stderr:\n%s", s.stderr.String())
		}
	})
	return s
}

func listen(t testing.TB, path string) *os.File {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	f, err := l.(*net.UnixListener).File()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Client returns a client that reaches the socket of that name, whatever the URL's host.
func (s *Server) Client(t testing.TB, socket string) *http.Client {
	path := s.sockets[socket]
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// Stderr waits for the process to end and returns what it wrote. It is for configurations that do not start.
func (s *Server) Stderr(ctx context.Context, t testing.TB) string {
	t.Helper()
	select {
	case <-s.exited:
	case <-ctx.Done():
		t.Fatal("workerd did not exit")
	}
	return strings.TrimSpace(s.stderr.String())
}
