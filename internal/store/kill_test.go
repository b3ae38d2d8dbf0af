package store

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/sqlite"
)

// killDir is the variable that makes the test binary the victim of TestKill.
const killDir = "ATOLL_TEST_KILL_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(killDir); dir != "" {
		writeUntilKilled(dir)
	}
	os.Exit(m.Run())
}

// writeUntilKilled deploys from many goroutines and prints each acknowledged version.
func writeUntilKilled(dir string) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	db, err := Open(nil, dir, testKey)
	fail(err)
	ctx := context.Background()
	fail(db.EnsureAccount(ctx, acct, "Acme"))
	if _, err := db.Namespace(ctx, acct, prod); err != nil {
		_, err = db.CreateNamespace(ctx, acct, prod, false, atoll.NamespaceSettings{})
		fail(err)
	}
	for w := range 8 {
		go func() {
			for i := 0; ; i++ {
				name := fmt.Sprintf("w%d-%d", w, i/2) // two versions of each script
				v := &atoll.Version{Bindings: []atoll.Binding{{Name: "S", Type: "secret_text", Secret: []byte(name)}}}
				tags := []string{fmt.Sprint("run-", i)}
				_, err := db.PutVersion(ctx, user(name), v, ScriptChange{Deploy: true, Tags: &tags})
				fail(err)
				fmt.Printf("%s %s %d\n", name, v.ID, v.Number)
			}
		}()
	}
	select {}
}

// TestKill kills a process with SIGKILL while it writes, and looks for every version that it had acknowledged.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	acked := map[string]string{} // version ID: script
	for round := range 3 {
		read := len(acked) + 200*(round+1)
		killed(t, dir, func(line string) (enough bool) {
			name, rest, _ := strings.Cut(line, " ")
			id, _, _ := strings.Cut(rest, " ")
			acked[id] = name
			return len(acked) >= read
		})
		db := open(t, dir)
		checkAcked(t, db, acked)
		ok(t, db.Close())
	}
	t.Logf("%d versions were acknowledged", len(acked))
}

func killed(t *testing.T, dir string, read func(line string) (enough bool)) {
	t.Helper()
	exe, err := os.Executable()
	ok(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), killDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	ok(t, err)
	ok(t, cmd.Start())
	lines := bufio.NewScanner(out)
	for lines.Scan() { // to the end: what the pipe held when it died was acknowledged too
		if read(lines.Text()) {
			cmd.Process.Kill()
		}
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
		t.Fatalf("the victim was not killed: %v", err)
	}
}

func checkAcked(t *testing.T, db *DB, acked map[string]string) {
	t.Helper()
	ctx := t.Context()
	for id, name := range acked {
		v, err := db.Version(ctx, user(name), atoll.VersionID(id))
		ok(t, err)
		if string(v.Bindings[0].Secret) != name {
			t.Errorf("%s: secret %q", name, v.Bindings[0].Secret)
		}
	}
	// none is there by half
	for what, query := range map[string]string{
		"script without its newest version":     "SELECT count(*) FROM scripts s WHERE NOT EXISTS (SELECT 1 FROM versions v WHERE v.script = s.key AND v.number = s.last_number)",
		"script whose newest is not active":     "SELECT count(*) FROM scripts WHERE active <> last_number",
		"script without one tag in the index":   "SELECT count(*) FROM scripts s WHERE (SELECT json_array(tag) FROM script_tags t WHERE t.script = s.key) IS NOT s.tags",
		"version without its deployment":        "SELECT (SELECT count(*) FROM versions) - (SELECT count(*) FROM deployments)",
		"script that the namespace is not told": "SELECT sum(scripts) - (SELECT count(*) FROM scripts) FROM namespaces",
		"violation of a foreign key":            "SELECT count(*) FROM pragma_foreign_key_check",
	} {
		n, err := sqlite.One(ctx, db.reads, sqlite.Value[int], query)
		ok(t, err)
		if n != 0 {
			t.Errorf("%d times a %s", n, what)
		}
	}
	sound, err := sqlite.One(ctx, db.reads, sqlite.Value[string], "PRAGMA integrity_check")
	ok(t, err)
	equal(t, sound, "ok")
}
