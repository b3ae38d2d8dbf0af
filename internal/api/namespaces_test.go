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
