package clients_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// briefCalls are the shell snippets of the brief that testdata/curl has in our words, by their heading there.
var briefCalls = map[string]string{
	"deploy":        "### Deploy a User Worker",
	"bindings":      "### Deploy with Bindings and Tags",
	"list":          "### List Workers in Namespace",
	"tags":          "### Tags API",
	"delete":        "### Delete Worker by Name",
	"delete-by-tag": "### Delete Workers by Tag",
}

// A shell runs snippets with curl in one folder, with nothing but the host of their URLs changed.
type shell struct {
	n      *node
	dir    string
	env    []string
	source string // "ours" or "brief"
}

func (n *node) shell(source, kv string) *shell {
	n.t.Helper()
	dir := n.t.TempDir()
	// Snippets write neither -s nor --fail: a file says it for them.
	if err := os.WriteFile(filepath.Join(dir, ".curlrc"), []byte("silent\nshow-error\nfail-with-body\n"), 0o666); err != nil {
		n.t.Fatal(err)
	}
	return &shell{n: n, dir: dir, source: source, env: append(cleanEnv(), "CURL_HOME="+dir, "ACCOUNT_ID="+n.account,
		"API_TOKEN="+n.token, "NAMESPACE=production", "SCRIPT_NAME=curled", "KV_NAMESPACE_ID="+kv)}
}

// run runs a snippet and returns the results of its calls, all of which must succeed.
func (s *shell) run(name string) []json.RawMessage {
	t := s.n.t
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c",
		strings.ReplaceAll(s.snippet(name), "https://api.cloudflare.com", s.n.api))
	cmd.Dir, cmd.Env = s.dir, s.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	var results []json.RawMessage
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var e envelope
		if err := dec.Decode(&e); err != nil || !e.Success {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		results = append(results, e.Result)
	}
	if len(results) == 0 {
		t.Fatalf("%s: no answer\n%s", name, out)
	}
	return results
}

// snippet is our version of a call, or the brief's as written.
func (s *shell) snippet(name string) string {
	s.n.t.Helper()
	if s.source == "ours" {
		text, err := os.ReadFile(filepath.Join("testdata/curl", name+".sh"))
		if err != nil {
			s.n.t.Fatal(err)
		}
		return string(text)
	}
	text, err := os.ReadFile(os.Getenv("ATOLL_BRIEF"))
	if err != nil {
		s.n.t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), briefCalls[name]+"\n")
	_, rest, fenced := strings.Cut(rest, "```bash\n")
	block, _, closed := strings.Cut(rest, "```")
	if !found || !fenced || !closed {
		s.n.t.Fatalf("the brief has no shell block under %q", briefCalls[name])
	}
	return block
}

// The brief's curl calls: deploy, deploy with a binding and tags, list, the whole tags API with its filters, and delete
// by name and by tag.
func TestCurl(t *testing.T) {
	t.Parallel()
	for _, source := range []string{"ours", "brief"} {
		if source == "brief" && os.Getenv("ATOLL_BRIEF") == "" {
			continue
		}
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			n := startNode(t)
			n.platform()
			var kv struct{ ID string }
			n.result("POST", n.acct()+"/storage/kv/namespaces", "application/json", `{"title":"curl"}`, &kv)
			s := n.shell(source, kv.ID)

			s.run("deploy")
			n.serves("curled", "Hello from user Worker!")
			s.run("bindings")
			n.serves("curled", "Hello from user Worker!")
			if got := n.names("/bindings"); !slices.Equal(got, []string{"MY_KV"}) {
				t.Errorf("bindings: %v", got)
			}
			if list := string(s.run("list")[0]); !strings.Contains(list, `"curled"`) {
				t.Errorf("not listed: %s", list)
			}

			// Get, put all, put one, delete one, list by tag, delete by tag.
			results := s.run("tags")
			if len(results) != 6 {
				t.Fatalf("%d answers, want 6", len(results))
			}
			if got := sorted(t, results[0]); !slices.Equal(got, []string{"customer-123", "pro-plan", "production"}) {
				t.Errorf("tags: %v", got)
			}
			var filtered []struct{ ID string }
			if err := json.Unmarshal(results[4], &filtered); err != nil || len(filtered) != 1 || filtered[0].ID != "curled" {
				t.Errorf("scripts with the tag: %s", results[4])
			}
			n.gone("curled")

			s.run("deploy")
			n.serves("curled", "Hello from user Worker!")
			s.run("delete")
			n.gone("curled")

			s.run("bindings")
			n.serves("curled", "Hello from user Worker!")
			s.run("delete-by-tag")
			n.gone("curled")
		})
	}
}

// A metadata-only PUT, with keep_bindings: the code stays, new bindings join those kept.
func TestCurlKeepBindings(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.platform()
	var kv struct{ ID string }
	n.result("POST", n.acct()+"/storage/kv/namespaces", "application/json", `{"title":"curl"}`, &kv)
	s := n.shell("ours", kv.ID)
	s.run("deploy")
	s.run("bindings")
	s.run("keep")
	n.serves("curled", "Hello from user Worker!")
	if got := n.names("/bindings"); !slices.Equal(got, []string{"ADDED", "MY_KV"}) {
		t.Errorf("bindings: %v", got)
	}
	// Without a script to keep the code of, it is refused.
	n.upload(n.script("never-was"), []part{{field: "metadata", body: `{"bindings":[]}`}}).refused(t, 400, 10021)
}

// names returns the names that a list of the script "curled" holds, sorted.
func (n *node) names(path string) []string {
	n.t.Helper()
	var list []struct{ Name string }
	n.result("GET", n.script("curled")+path, "", "", &list)
	var out []string
	for _, item := range list {
		out = append(out, item.Name)
	}
	slices.Sort(out)
	return out
}

// sorted decodes a list of strings and sorts it.
func sorted(t *testing.T, raw json.RawMessage) []string {
	t.Helper()
	var list []string
	if err := json.Unmarshal(raw, &list); err != nil {
		t.Fatalf("not a list of strings: %s", raw)
	}
	slices.Sort(list)
	return list
}
