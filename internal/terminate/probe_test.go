package terminate

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestProbe(t *testing.T) {
	for _, insecure := range []bool{false, true} {
		t.Run(map[bool]string{false: "confined", true: "insecure"}[insecure], func(t *testing.T) {
			r := newRig(t, rigOptions{insecure: insecure})
			if err := r.engine.Probe(r.proc.Pid()); err != nil {
				t.Error(err)
			}
			a := r.background(1, "/loop")
			c := r.busy()
			if err := r.engine.Probe(r.proc.Pid()); err != nil {
				t.Error(err)
			}
			if got, err := r.target.Current(); got != c || err != nil {
				t.Errorf("after the probe %v runs, %v; before it was %v", got, err, c)
			}
			if got := r.terminate(c); got != Terminated {
				t.Errorf("%v", got)
			}
			a.Wait()
			r.want("/", 200, "hello")
		})
	}
}

func TestDenied(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ptrace_scope")
	for scope, want := range map[string]string{
		"0\n": "security module", "1\n": "ancestor", "2\n": "CAP_SYS_PTRACE", "3\n": "reboot", "": "security module",
	} {
		os.Remove(file)
		if scope != "" {
			if err := os.WriteFile(file, []byte(scope), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := denied(unix.EPERM, file); !strings.Contains(err.Error(), want) || !errors.Is(err, unix.EPERM) {
			t.Errorf("%q: %v, want %q", scope, err, want)
		}
	}
	if err := denied(ErrGone, file); err != ErrGone {
		t.Errorf("got %v", err)
	}
}
