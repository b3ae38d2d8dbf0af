// Package hostile_test attacks a whole node the way a tenant would: one hostile Worker a case, deployed and called like
// any other, with an innocent tenant beside it on the same node and, where the case allows, an innocent request in the
// very same isolate.
//
// It is not where a layer is tested by itself, as package sandbox does from within with a program in workerd's place. Its
// invariant: after every case the offender's own next request is served, nobody else has noticed anything, and nothing
// that listens on the machine has been reached. The cases of a group take turns, as the node's limits are measured by the
// clock of a small machine.
package hostile_test

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"atoll.dev/atoll/internal/sandbox"
	"atoll.dev/atoll/internal/workerd/workerdtest"
)

func TestMain(m *testing.M) {
	sandbox.Main() // this binary is also what the sandbox starts again
	os.Exit(run(m))
}

// run gives the nodes of this test a directory for their sockets, so that theirs can be told from those of others. The
// name is short, since a socket's must be.
func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "h")
	if err == nil {
		err = errors.Join(os.Chmod(dir, 0o711), os.Setenv("TMPDIR", dir))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	return m.Run()
}

// An attack is one hostile Worker and what must become of it.
type attack struct {
	name  string
	code  string           // the module; its default export's fetch is the attack, called by GET /
	flags []string         // compatibility flags
	date  string           // compatibility date; a recent one
	binds []map[string]any // bindings

	classes []string // of Durable Objects

	cpuMs       int // limits of the dispatch; 50
	subRequests int // 50

	path    string // what is asked for; "/"
	want    string // regular expression of "STATUS BODY"; an exception's status is 500 and its body "NAME: MESSAGE"
	refused string // the upload is refused with this message instead
	calm    string // the path whose answer must come to rest, where the attack goes on after its response
	alone   bool   // its process dies, or its own code breaks all of its requests: nobody else is in the isolate
	lost    bool   // its own exceptions cannot be told any more either

	run func(t *testing.T, s *site, host string) // in place of the GET
}

// groups yields all attacks, with a KV namespace of theirs.
func groups(kv string, s *site) iter.Seq2[string, []attack] {
	return func(yield func(string, []attack) bool) {
		_ = yield("cpu", cpuAttacks()) && yield("memory", memoryAttacks()) && yield("flood", floodAttacks(kv)) && yield("forgery", forgeryAttacks()) &&
			yield("reach", reachAttacks(kv, s)) && yield("pollution", pollutionAttacks()) && yield("process", processAttacks()) && yield("r2", r2Attacks(s)) && yield("objects", objectAttacks(s))
	}
}

// TestHostile runs every case against one node.
func TestHostile(t *testing.T) {
	t.Parallel() // with TestShutdown, which mostly waits
	s := newSite(t)
	kv := s.namespace(t, "mallory")
	s.furnishR2(t)
	s.furnishObjects(t)
	for group, cases := range groups(kv, s) {
		t.Run(group, func(t *testing.T) {
			for _, a := range cases {
				t.Run(a.name, func(t *testing.T) { s.suffer(t, group, a) })
			}
		})
	}
	s.untouched(t)
	s.keepsSecrets(t)
	s.holdsTheDoor(t)
}

// suffer deploys an attack, has it run, and looks at everybody else.
func (s *site) suffer(t *testing.T, group string, a attack) {
	host := group + "-" + a.name
	stop := s.watch(t, "alice")
	defer stop()
	if !s.deploy(t, host, a) {
		return
	}
	defer s.call(t, "DELETE", s.script(host)+"?force=true", nil, nil)
	var neighbour *visit
	if !a.alone {
		neighbour = s.visit(t, host, a.limits())
	}
	if a.run != nil {
		a.run(t, s, host)
	} else {
		s.want(t, host, a.path, a.limits(), a.want)
	}
	if a.calm != "" {
		s.comesToRest(t, host, a.calm, a.limits())
	}
	if neighbour != nil {
		neighbour.leave(t)
	}
	s.recovers(t, host, a.limits())
	if !a.lost {
		s.want(t, host, "/throw", a.limits(), "^500 RangeError: told$")
	}
}

// TestHostileAsOrdinaryUser runs the suite again as one, if this is root: a sandbox of an ordinary user's is made by other
// means, and so is the stop of a request.
func TestHostileAsOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root: the other tests were it")
	}
	if testing.Short() {
		t.Skip("it takes as long as all the others")
	}
	dir, err := os.MkdirTemp("/tmp", "o") // not t.TempDir, which is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	self, engine, tmp := filepath.Join(dir, "test"), filepath.Join(dir, "workerd"), filepath.Join(dir, "t")
	copyFile(t, "/proc/self/exe", self)
	copyFile(t, workerdtest.Binary(t).Path, engine)
	if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(tmp, 0o755), os.Chown(tmp, nobody, nobody),
		os.CopyFS(filepath.Join(dir, "testdata"), os.DirFS("testdata"))); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(self, "-test.v", "-test.run", "^TestHostile$|^TestShutdown$")
	c.Dir = dir
	c.Env = []string{"ATOLL_WORKERD=" + engine, "TMPDIR=" + tmp, "HOME=" + tmp, "PATH=" + os.Getenv("PATH")}
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}, Pdeathsig: syscall.SIGKILL}
	out, err := c.CombinedOutput()
	if err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
	if strings.Contains(string(out), "--- SKIP") {
		t.Errorf("skipped:\n%s", out)
	}
}

const nobody = 65534

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}
