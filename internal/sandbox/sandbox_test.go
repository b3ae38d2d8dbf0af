package sandbox

import (
	"os"
	"strings"
	"testing"
)

// TestMain lets the test binary be what cmd/atoll is in earnest: the program that sets its children up.
func TestMain(m *testing.M) {
	Main()
	os.Exit(m.Run())
}

func newSandbox(t *testing.T, opts Options) *Sandbox {
	t.Helper()
	s, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestStartTellsWhatFailed(t *testing.T) {
	s := newSandbox(t, Options{})
	_, err := s.Start(Command{Path: "/bin/true", Binds: []Bind{{Host: "/nowhere", Guest: "/x"}}})
	if err == nil || !strings.Contains(err.Error(), "/nowhere") {
		t.Errorf("got %v", err)
	}
	p, err := s.Start(Command{Path: "/bin/false"})
	if err != nil {
		t.Fatal(err)
	}
	if got := p.ExitState(); got.Code != 1 {
		t.Errorf("got %v", got)
	}
}
