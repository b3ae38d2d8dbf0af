// Package killtest kills processes amid what they write: a test binary that is run again, and told by its environment to
// write and to say on its standard output what is done. It is for tests alone.
//
// Its functions may be called from tests that run in parallel.
package killtest

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// Rounds is how often to kill: what the environment variable says, else one in short tests and 5 in others.
func Rounds(variable string) int {
	switch n, err := strconv.Atoi(os.Getenv(variable)); {
	case testing.Short():
		return 1
	case err == nil:
		return n
	}
	return 5
}

// Run runs this test binary with one more setting of its environment, until it has ended. It calls each with every line that
// the process says, in order, and kills the process when that returns true; lines that were said by then still follow. What the
// process writes to its standard error fails the test.
func Run(t testing.TB, setting string, each func(line string) (kill bool)) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), setting)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewReader(out); ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // a line that was not said to its end was not said
		}
		if each(strings.TrimSpace(line)) {
			cmd.Process.Kill()
		}
	}
	cmd.Wait()
	if stderr.Len() > 0 {
		t.Fatal(stderr.String())
	}
}
