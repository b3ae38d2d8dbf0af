package node_test

import (
	"testing"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/node"
)

// hoarder stores a megabyte a call, in one object after the other or in one, and can delete it.
const hoarder = `import { DurableObject } from "cloudflare:workers";
export class Hoard extends DurableObject {
	async add() {
		this.ctx.storage.sql.exec("CREATE TABLE IF NOT EXISTS h (b BLOB)");
		this.ctx.storage.sql.exec("INSERT INTO h VALUES (zeroblob(1000000))");
		return "added";
	}
	async count() { try { return String(this.ctx.storage.sql.exec("SELECT count(*) AS n FROM h").one().n); } catch (e) { return String(e); } }
	async clear() { await this.ctx.storage.deleteAll(); return "cleared"; }
}
export default { async fetch(request, env) {
	const [, object, method] = new URL(request.url).pathname.split("/");
	return new Response(await env.HOARD.getByName(object)[method]());
} };`

// A storage bomb ends at the account's limit, in errors; what is there can be read, and after some of it has been deleted
// there is room again. Another object of the same process goes on.
func TestObjectsQuota(t *testing.T) {
	limits := atoll.DefaultLimits()
	limits.DurableStorage = 100 << 20
	r := newRig(t, node.Config{Limits: limits})
	r.dispatcher(dispatchByHost, nil)
	if refused := r.upload("production/alice", hoarder, withClass("HOARD", "Hoard", map[string]any{"new_tag": "v1", "new_sqlite_classes": []string{"Hoard"}})); refused != "" {
		t.Fatal(refused)
	}
	r.want("alice", "/small/add", 200, "added")
	added := 0
	r.until("the storage to be full", func() bool {
		status, got := r.get("alice", "/big/add")
		if status == 200 {
			added++
			return false
		}
		t.Logf("after %d MB: %d %s", added, status, got)
		return true
	})
	if added < 50 || added > 500 {
		t.Errorf("%d MB were stored, within 100", added)
	}
	if status, got := r.get("alice", "/small/count"); status != 200 || got != "1" {
		t.Errorf("the other object: %d %s", status, got)
	}
	r.until("the object to be cleared", func() bool {
		status, got := r.get("alice", "/big/clear")
		if status != 200 {
			t.Logf("clear: %d %s", status, got)
		}
		return status == 200
	})
	r.until("room to be made", func() bool { status, _ := r.get("alice", "/small/add"); return status == 200 })
}
