package terminate

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"atoll.dev/atoll/internal/workerd/workerdtest"
)

// TestOrdinaryUser repeats what matters as nobody, from outside the namespaces that nobody made.
func TestOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the whole test runs as an ordinary user")
	}
	const nobody = 65534
	tmp, err := os.MkdirTemp("", "tm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(tmp) })
	if err := os.Chown(tmp, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", "-test.v", "-test.run", "^(TestTerminate|TestTerminateAfterResponse|TestLook|TestOverdue)$")
	cmd.Env = []string{"ATOLL_WORKERD=" + workerdtest.Binary(t).Path, "TMPDIR=" + tmp}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
}
