package main

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"atoll.dev/atoll/internal/sandbox"
)

func TestMain(m *testing.M) {
	sandbox.Main() // this binary is also what the sandbox starts again
	testscript.Main(m, map[string]func(){"atoll": main})
}

// TestScripts runs testdata/*.txtar: each is the story of one behaviour, told with the real program and real workerd.
// Beside testscript's own commands they use these:
//
//	serve [FLAG...]            starts a node on $WORK/data and waits for it; sets EDGE, API, ACCOUNT and TOKEN
//	halt [KILL]                ends it with SIGTERM, or with SIGKILL ("stop" is testscript's own: it ends the script)
//	http METHOD TARGET [NAME:VALUE...] [FILE]   asks the edge for HOST/PATH, or the REST API for api:/PATH
//	status CODE                checks the answer's status
//	header NAME PATTERN        checks a header of it, "! header NAME" that there is none
//	body PATTERN               checks its body, which is also in the file "body"
func TestScripts(t *testing.T) {
	workerd := findWorkerd(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("ATOLL_WORKERD", workerd)
			env.Setenv("ATOLL_DATA", filepath.Join(env.WorkDir, "data"))
			env.Values[key{}] = &state{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve": begin, "halt": halt, "http": ask, "status": status, "header": header, "body": body,
		},
	})
}

// findWorkerd returns the engine that "make build" put there. Without it scripts are skipped, except in CI.
func findWorkerd(t *testing.T) string {
	t.Helper()
	for _, pattern := range []string{"../../bin/workerd", "../../engine/node_modules/@cloudflare/workerd-linux-*/bin/workerd"} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			abs, err := filepath.Abs(found[0])
			if err != nil {
				t.Fatal(err)
			}
			return abs
		}
	}
	if os.Getenv("ATOLL_E2E") == "all" || os.Getenv("CI") != "" {
		t.Fatal("there is no workerd: run 'make build' first")
	}
	t.Skip("there is no workerd: run 'make build' first")
	return ""
}

// key is where a script's state is among testscript's values.
type key struct{}

// state is what a script's commands tell each other.
type state struct {
	node   *exec.Cmd
	logs   bytes.Buffer // stderr of the node; read after it has ended
	answer *http.Response
	body   string
}

func stateOf(ts *testscript.TestScript) *state { return ts.Value(key{}).(*state) }

// begin starts a node and waits for its ready line.
func begin(ts *testscript.TestScript, neg bool, args []string) {
	s := stateOf(ts)
	if neg || s.node != nil {
		ts.Fatalf("serve: one node at a time, and it must start")
	}
	path, err := lookPath(ts, "atoll")
	ts.Check(err)
	cmd := exec.Command(path, append([]string{"serve", "--edge", "127.0.0.1:0", "--api", "127.0.0.1:0"}, args...)...)
	cmd.Dir, cmd.Stderr = ts.MkAbs("."), &s.logs
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "ATOLL_WORKERD", "ATOLL_DATA"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	s.node = cmd
	ts.Defer(func() { end(ts, syscall.SIGTERM) })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "atoll: ready ") {
		end(ts, syscall.SIGKILL)
		ts.Fatalf("serve: the node was not ready: %q %v", line, err)
	}
	for _, field := range strings.Fields(line)[2:] {
		name, value, _ := strings.Cut(field, "=")
		ts.Setenv(strings.ToUpper(name), value)
	}
	ts.Setenv("ATOLL_API", ts.Getenv("API"))
	ts.Setenv("TOKEN", strings.TrimSpace(ts.ReadFile(filepath.Join(ts.Getenv("ATOLL_DATA"), "api-token"))))
}

// lookPath finds a program as the script's exec does.
func lookPath(ts *testscript.TestScript, name string) (string, error) {
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if p := filepath.Join(dir, name); isFile(p) {
			return p, nil
		}
	}
	return "", exec.ErrNotFound
}

func isFile(p string) bool {
	info, err := os.Stat(p)
	return err == nil && info.Mode().IsRegular()
}

// halt ends the node.
func halt(ts *testscript.TestScript, neg bool, args []string) {
	sig := syscall.SIGTERM
	if len(args) == 1 && args[0] == "KILL" {
		sig = syscall.SIGKILL
	}
	if neg || stateOf(ts).node == nil {
		ts.Fatalf("halt: there is no node")
	}
	end(ts, sig)
}

// end signals the node, where there is one, and waits for it.
func end(ts *testscript.TestScript, sig syscall.Signal) {
	s := stateOf(ts)
	if s.node == nil {
		return
	}
	s.node.Process.Signal(sig)
	late := time.AfterFunc(40*time.Second, func() { s.node.Process.Kill() })
	err := s.node.Wait()
	s.node = nil
	ts.Logf("[node's log]\n%s", s.logs.String())
	s.logs.Reset()
	if !late.Stop() {
		ts.Fatalf("the node did not stop within 40 s of the signal")
	}
	if sig == syscall.SIGTERM && err != nil {
		ts.Fatalf("atoll serve: %v", err)
	}
}

// ask makes a request and keeps the answer for status, header and body.
func ask(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: http METHOD HOST/PATH|api:/PATH [NAME:VALUE...] [FILE]")
	}
	method, target := args[0], args[1]
	var content io.Reader
	headers := http.Header{}
	for _, arg := range args[2:] {
		if name, value, ok := strings.Cut(arg, ":"); ok {
			headers.Add(name, strings.TrimSpace(value))
		} else {
			content = strings.NewReader(ts.ReadFile(arg))
		}
	}
	url, host := ts.Getenv("EDGE"), ""
	if path, ok := strings.CutPrefix(target, "api:"); ok {
		url = ts.Getenv("API") + "/client/v4" + strings.ReplaceAll(path, "{account}", ts.Getenv("ACCOUNT"))
		headers.Set("Authorization", "Bearer "+ts.Getenv("TOKEN"))
	} else {
		var path string
		host, path, _ = strings.Cut(target, "/")
		url += "/" + path
	}
	req, err := http.NewRequest(method, url, content)
	ts.Check(err)
	req.Header, req.Host = headers, host
	resp, err := http.DefaultTransport.RoundTrip(req) // no redirects: they are the Worker's answer
	ts.Check(err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	ts.Check(err)
	s := stateOf(ts)
	s.answer, s.body = resp, string(text)
	ts.Logf("%s %s\n%s", resp.Proto, resp.Status, text)
	ts.Check(os.WriteFile(ts.MkAbs("body"), text, 0o666))
}

// answerOf is the last answer.
func answerOf(ts *testscript.TestScript) *http.Response {
	a := stateOf(ts).answer
	if a == nil {
		ts.Fatalf("no request was made yet")
	}
	return a
}

// status checks the last answer's status code.
func status(ts *testscript.TestScript, neg bool, args []string) {
	got := strconv.Itoa(answerOf(ts).StatusCode)
	if len(args) != 1 || (got == args[0]) == neg {
		ts.Fatalf("status is %s, want %s", got, strings.Join(args, " "))
	}
}

// header checks one header of the last answer.
func header(ts *testscript.TestScript, neg bool, args []string) {
	values, found := answerOf(ts).Header[http.CanonicalHeaderKey(args[0])]
	switch {
	case len(args) == 1 && found == neg:
		ts.Fatalf("header %s: %q", args[0], values)
	case len(args) == 2 && regexp.MustCompile(args[1]).MatchString(strings.Join(values, ", ")) == neg:
		ts.Fatalf("header %s is %q", args[0], values)
	}
}

// body checks the last answer's body.
func body(ts *testscript.TestScript, neg bool, args []string) {
	answerOf(ts)
	if len(args) != 1 || regexp.MustCompile("(?m)"+args[0]).MatchString(stateOf(ts).body) == neg {
		ts.Fatalf("body is %q", stateOf(ts).body)
	}
}
