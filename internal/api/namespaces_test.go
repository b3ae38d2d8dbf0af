package api

import (
	"slices"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/wire"
)

func TestNamespaces(t *testing.T) {
	n := newNode(t)
	const all = "ACCT/workers/dispatch/namespaces"
	var ns wire.Namespace
	n.ok(&ns, "POST", all, `{"name":"production"}`)
	if ns.NamespaceID == "" || ns.NamespaceName != "production" || ns.ID != ns.NamespaceID || ns.Name != "production" ||
		ns.TrustedWorkers || ns.CreatedBy != theAccount || ns.CreatedOn.IsZero() {
		t.Errorf("namespace = %+v", ns)
	}
	n.ok(nil, "POST", all, `{"name":"old name"}`, "Content-Type: text/plain;charset=UTF-8")
	if a := n.fails(400, 100120, "POST", all, `{"name":"production"}`); !strings.Contains(a.Errors[0].Message, "already exists") {
		t.Errorf("duplicate: %q", a.Errors[0].Message)
	}
	var list []wire.Namespace
	for _, query := range []string{"", "?page=1"} {
		a := n.ok(&list, "GET", all+query, "")
		if len(list) != 2 || list[0].Name != "old name" || list[1].Name != "production" || *a.ResultInfo.TotalCount != 2 {
			t.Errorf("list%s = %+v, %+v", query, list, a.ResultInfo)
		}
	}
	n.ok(&list, "GET", all+"?page=2", "")
	if len(list) != 0 {
		t.Errorf("second page = %+v", list)
	}
	n.ok(&list, "GET", all+"?page=2&per_page=1", "")
	if len(list) != 1 || list[0].Name != "production" {
		t.Errorf("second page of one = %+v", list)
	}
	n.fails(400, 10001, "GET", all+"?page=0", "")

	n.ok(&ns, "GET", all+"/old%20name", "")
	n.ok(&ns, "PUT", all+"/old%20name", `{"name":"new-name"}`)
	if ns.Name != "new-name" {
		t.Errorf("renamed = %+v", ns)
	}
	n.fails(404, 100119, "GET", all+"/old%20name", "")
	n.ok(&ns, "PATCH", all+"/new-name", `{"trusted_workers":true}`)
	if !ns.TrustedWorkers || ns.Name != "new-name" {
		t.Errorf("trusted = %+v", ns)
	}
	n.ok(&ns, "PUT", all+"/new-name", `{"name":"new-name","trusted_workers":false}`)
	if ns.TrustedWorkers {
		t.Errorf("untrusted = %+v", ns)
	}
	n.fails(400, 100120, "PUT", all+"/new-name", `{"name":"production"}`)
	n.fails(400, 100118, "PUT", all+"/new-name", `{"name":"a/b"}`)
	if a := n.ok(nil, "DELETE", all+"/new-name", ""); string(a.Result) != "null" {
		t.Errorf("deleted: result %s", a.Result)
	}
	for _, want := range []string{"namespace old name", "namespace new-name"} {
		if !slices.Contains(n.changed, want) {
			t.Errorf("nobody was told of the change of %s: %q", want, n.changed)
		}
	}

	for _, method := range []string{"GET", "DELETE"} {
		n.fails(404, 100119, method, all+"/nope", "")
		n.fails(404, 100119, method, all+"/a%2Fb", "")
	}
	n.fails(404, 100119, "PUT", all+"/nope", `{"name":"x"}`)
	n.fails(404, 100119, "GET", all+"/nope/scripts", "")
	n.fails(404, 100119, "GET", all+"/nope/scripts/x", "")
	n.fails(400, 10026, "POST", all, "")
	n.fails(400, 10026, "POST", all, "{")
	n.fails(400, 10026, "POST", all, `{"name":1}`)
	n.fails(400, 100118, "POST", all, `{}`)
	n.fails(400, 100118, "POST", all, `{"name":""}`)
	n.fails(413, 10026, "POST", all, `{"name":"`+strings.Repeat("x", maxJSON)+`"}`)
}

func TestNamespaceSettings(t *testing.T) {
	n := newNode(t)
	const all = "ACCT/workers/dispatch/namespaces"
	ask := func(limits wire.NamespaceLimits, jitless bool, method, path, body string) {
		t.Helper()
		var ns, read wire.Namespace
		n.ok(&ns, method, path, body)
		n.ok(&read, "GET", all+"/production", "")
		if ns.Limits != limits || ns.Jitless != jitless || read != ns {
			t.Errorf("answered %+v, read %+v; want %+v, %v", ns, read, limits, jitless)
		}
	}
	ask(wire.NamespaceLimits{CPUMs: 50, MemoryMB: 64}, false, "POST", all, `{"name":"production","limits":{"cpu_ms":50,"memory_mb":64}}`)
	ask(wire.NamespaceLimits{CPUMs: 50, MemoryMB: 64, SubRequests: 5}, true, "PATCH", all+"/production", `{"limits":{"subrequests":5},"jitless":true}`)
	ask(wire.NamespaceLimits{CPUMs: 50, MemoryMB: 64, SubRequests: 5}, true, "PUT", all+"/production", `{"name":"production"}`) // as wrangler does
	ask(wire.NamespaceLimits{MemoryMB: 64, SubRequests: 5}, false, "PATCH", all+"/production", `{"limits":{"cpu_ms":null},"jitless":false}`)
	ask(wire.NamespaceLimits{}, false, "PUT", all+"/production", `{"limits":null}`)
	if a := n.ok(nil, "GET", all+"/production", ""); !strings.Contains(string(a.Result), `"limits":{},"jitless":false`) {
		t.Errorf("nothing is set: %s", a.Result)
	}

	for body, want := range map[string]string{
		`{"limits":{"cpu_ms":0}}`:             "limits.cpu_ms must be a whole number from 1 to 300000, or null to set none",
		`{"limits":{"cpu_ms":300001}}`:        "limits.cpu_ms must be a whole number from 1 to 300000, or null to set none",
		`{"limits":{"subrequests":10000001}}`: "limits.subrequests must be a whole number from 1 to 10000000, or null to set none",
		`{"limits":{"subrequests":-1}}`:       "limits.subrequests must be a whole number from 1 to 10000000, or null to set none",
		`{"limits":{"memory_mb":15}}`:         "limits.memory_mb must be a whole number from 16 to 2048, or null to set none",
		`{"limits":{"memory_mb":2049}}`:       "limits.memory_mb must be a whole number from 16 to 2048, or null to set none",
	} {
		if a := n.fails(400, 10021, "PATCH", all+"/production", body); a.Errors[0].Message != want {
			t.Errorf("%s: %s", body, a.Errors[0].Message)
		}
		n.fails(400, 10021, "POST", all, strings.Replace(body, "{", `{"name":"other",`, 1))
	}
	for body, want := range map[string]string{
		`{"limits":{"cpu_ms":"50"}}`: "limits.cpu_ms must be a whole number, not a JSON string",
		`{"limits":{"cpu_ms":1.5}}`:  "limits.cpu_ms must be a whole number, not a JSON number 1.5",
		`{"limits":7}`:               "limits must be an object, not a JSON number",
		`{"jitless":"yes"}`:          "jitless must be true or false, not a JSON string",
		`{"name":7}`:                 "name must be a string, not a JSON number",
	} {
		if a := n.fails(400, 10026, "PATCH", all+"/production", body); a.Errors[0].Message != want {
			t.Errorf("%s: %s", body, a.Errors[0].Message)
		}
	}
	ask(wire.NamespaceLimits{}, false, "GET", all+"/production", "")
	n.fails(404, 100119, "GET", all+"/other", "")
}
