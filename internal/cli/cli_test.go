package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	acct = "0123456789abcdef0123456789abcdef"
	kv1  = "11111111111111111111111111111111"
)

// node is a REST API of canned answers: "GET /path under the account" or "GET //path under /client/v4", and what the
// result of its envelope is. An answer that begins with '!' is "!status code message".
type node struct {
	t       *testing.T
	answers map[string]string
	seen    []string // "METHOD path?query body"
	url     string
}

func newNode(t *testing.T, answers map[string]string) *node {
	t.Helper()
	n := &node{t: t, answers: answers}
	srv := httptest.NewServer(n)
	t.Cleanup(srv.Close)
	n.url = srv.URL
	return n
}

func (n *node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.EscapedPath(), "/client/v4")
	if rest, ok := strings.CutPrefix(path, "/accounts/"+acct); ok {
		path = rest
	} else {
		path = "/" + path
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		n.t.Error(err)
	}
	n.seen = append(n.seen, strings.TrimSpace(r.Method+" "+path+" "+string(body)))
	answer, ok := n.answers[r.Method+" "+path]
	switch {
	case r.Header.Get("Authorization") != "Bearer t0ken":
		answer = "!401 1000 Invalid API Token"
	case path == "//accounts":
		answer = `[{"id":"` + acct + `","name":"default"}]`
	case !ok:
		answer = "!404 7000 No route for that URI"
	}
	if rest, refused := strings.CutPrefix(answer, "!"); refused {
		var status, code int
		fmt.Sscanf(rest, "%d %d", &status, &code)
		w.WriteHeader(status)
		message, err := json.Marshal(strings.SplitN(rest, " ", 3)[2])
		if err != nil {
			n.t.Error(err)
		}
		fmt.Fprintf(w, `{"success":false,"errors":[{"code":%d,"message":%s}],"messages":[],"result":null}`, code, message)
		return
	}
	if strings.Contains(path, "/values/") && r.Method == http.MethodGet {
		io.WriteString(w, answer)
		return
	}
	fmt.Fprintf(w, `{"success":true,"errors":[],"messages":[],"result":%s}`, answer)
}

// said is what a command line has printed.
type said struct {
	code     int
	out, err string
}

// run runs a command line against the node.
func (n *node) run(args ...string) said { return n.runIn("", args...) }

func (n *node) runIn(stdin string, args ...string) said {
	return run(App{Version: "v1"}, stdin, map[string]string{"ATOLL_API": n.url, "ATOLL_TOKEN": "t0ken"}, args...)
}

func run(app App, stdin string, env map[string]string, args ...string) said {
	var out, errs bytes.Buffer
	code := app.Run(context.Background(), args, Std{In: strings.NewReader(stdin), Out: &out, Err: &errs,
		Getenv: func(k string) string { return env[k] }})
	return said{code, out.String(), errs.String()}
}

// prints checks a command that succeeds.
func (s said) prints(t *testing.T, want string) {
	t.Helper()
	if s.code != exitOK || s.err != "" {
		t.Errorf("exit code %d, stderr:\n%s", s.code, s.err)
	}
	if diff := cmp.Diff(want, s.out); diff != "" {
		t.Errorf("stdout (-want +got):\n%s", diff)
	}
}

// fails checks a command that does not.
func (s said) fails(t *testing.T, code int, want string) {
	t.Helper()
	if s.code != code || s.out != "" {
		t.Errorf("exit code %d, want %d; stdout:\n%s", s.code, code, s.out)
	}
	if diff := cmp.Diff(want, s.err); diff != "" {
		t.Errorf("stderr (-want +got):\n%s", diff)
	}
}

// did checks the changes that were asked of the node.
func (n *node) did(want ...string) {
	n.t.Helper()
	var got []string
	for _, s := range n.seen {
		if !strings.HasPrefix(s, "GET ") {
			got = append(got, s)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		n.t.Errorf("changes (-want +got):\n%s", diff)
	}
	n.seen = nil
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestUsageErrors(t *testing.T) {
	for line, want := range map[string]string{
		"nosuch":                     "atoll: error: unknown command atoll nosuch\natoll: hint: 'atoll --help' shows how to use it\n",
		"script nosuch":              "atoll: error: unknown command atoll script nosuch\natoll: hint: 'atoll script --help' shows how to use it\n",
		"version --bad":              "atoll: error: unknown flag: --bad\natoll: hint: 'atoll version --help' shows how to use it\n",
		"namespace get":              "atoll: error: accepts 1 arg(s), received 0\natoll: hint: 'atoll namespace get --help' shows how to use it\n",
		"script delete":              "atoll: error: give either names or --tags\natoll: hint: 'atoll script delete --help' shows how to use it\n",
		"kv key put ns k":            "atoll: error: give either VALUE or --file\natoll: hint: 'atoll kv key put --help' shows how to use it\n",
		"script delete --tags a:yes": "atoll: error: --tags deletes in a dispatch namespace only\natoll: hint: name it with --namespace\n",
	} {
		n := newNode(t, map[string]string{"GET /storage/kv/namespaces": `[{"id":"` + kv1 + `","title":"ns"}]`})
		n.run(strings.Fields(line)...).fails(t, exitUsage, want)
	}
}

func TestHelpIsNoError(t *testing.T) {
	for _, line := range []string{"", "--help", "script", "kv namespace --help"} {
		if s := run(App{}, "", nil, strings.Fields(line)...); s.code != exitOK || !strings.Contains(s.out, "Usage:") || s.err != "" {
			t.Errorf("atoll %s: %+v", line, s)
		}
	}
}

// Whatever a command answers with, its errors say what to do.
func TestErrorsSayWhatToDo(t *testing.T) {
	for answer, want := range map[string]string{
		"!404 100119 workers.api.error.dispatch_namespace_not_found": "atoll: error: This dispatch namespace does not exist. [code: 100119]\natoll: hint: 'atoll namespace list' shows the dispatch namespaces, 'atoll namespace create NAME' makes one\n",
		"!401 10000 Authentication":                                  "atoll: error: Authentication [code: 10000]\natoll: hint: the node does not know this token: look into api-token in its data directory, or make one with 'atoll token create'\n",
		"!403 9109 Unauthorized":                                     "atoll: error: Unauthorized [code: 9109]\natoll: hint: the token may not do this: 'atoll token create NAME' with the node's first token makes one that may\n",
		"!500 10002 broken":                                          "atoll: error: broken [code: 10002]\n",
	} {
		n := newNode(t, map[string]string{"GET /workers/dispatch/namespaces/production": answer})
		n.run("namespace", "get", "production").fails(t, exitFailed, want)
	}
}

func TestNobodyThere(t *testing.T) {
	srv := httptest.NewServer(nil)
	srv.Close()
	s := run(App{}, "", nil, "namespace", "list", "--api", srv.URL, "--token", "x", "--account", acct)
	if s.code != exitFailed || !strings.Contains(s.err, "connection refused\natoll: hint: is the node running? Start it with 'atoll serve'") {
		t.Errorf("%+v", s)
	}
}

func TestTheTokenIsFound(t *testing.T) {
	n := newNode(t, map[string]string{"GET /workers/dispatch/namespaces": `[]`})
	dir := t.TempDir()
	write(t, filepath.Join(dir, "api-token"), "t0ken\n")
	const none = "No dispatch namespaces. Make one with 'atoll namespace create NAME'.\n"
	list := []string{"namespace", "list", "--api", n.url}
	run(App{}, "", nil, append(list, "--token", "t0ken")...).prints(t, none)
	run(App{}, "", map[string]string{"ATOLL_TOKEN": "t0ken", "ATOLL_API_TOKEN": "other"}, list...).prints(t, none)
	run(App{}, "", map[string]string{"ATOLL_API_TOKEN": "t0ken"}, list...).prints(t, none)
	run(App{}, "", map[string]string{"ATOLL_DATA": dir}, list...).prints(t, none)
	run(App{}, "", nil, append(list, "--data", dir)...).prints(t, none)

	missing := filepath.Join(dir, "missing")
	run(App{}, "", nil, append(list, "--data", missing)...).fails(t, exitFailed,
		"atoll: error: no API token: --token and ATOLL_TOKEN are empty, and there is no "+missing+"/api-token\n"+
			"atoll: hint: run this where 'atoll serve' runs, or name the node's directory with --data, or give a token with --token\n")
}

func TestTheAccountIsChosen(t *testing.T) {
	n := newNode(t, map[string]string{"GET /workers/dispatch/namespaces": `[]`})
	n.run("namespace", "list", "--account", acct)
	if len(n.seen) != 1 {
		t.Errorf("asked %v", n.seen)
	}
	n.run("namespace", "list", "--account", "me").fails(t, exitFailed, "atoll: error: \"me\" is not an account's id\n"+
		"atoll: hint: an account's id is 32 hexadecimal digits; 'atoll serve' prints it when it is ready\n")
}

// Names, tags and messages come from tenants: none of them may move an operator's cursor.
func TestTerminalsObeyNobody(t *testing.T) {
	n := newNode(t, map[string]string{
		"GET /workers/scripts":                        `[{"id":"a","tags":["\u001b[2Jgone\u202e"]}]`,
		"GET /workers/dispatch/namespaces/production": "!400 10021 Uncaught Error: \x1b]0;title\a\n  at x.js:1:1",
	})
	if s := n.run("script", "list"); strings.ContainsAny(s.out, "\x1b\u202e") || !strings.Contains(s.out, "gone") {
		t.Errorf("%q", s.out)
	}
	n.run("namespace", "get", "production").fails(t, exitFailed, "atoll: error: Uncaught Error: \ufffd]0;title\ufffd\n    at x.js:1:1 [code: 10021]\n")
}
