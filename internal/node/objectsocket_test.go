package node_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"atoll.dev/atoll/internal/node"
)

// room has objects whose WebSockets hibernate.
const room = `import { DurableObject } from "cloudflare:workers";
export class Room extends DurableObject {
	#heard = 0;
	fetch() {
		const { 0: client, 1: server } = new WebSocketPair();
		this.ctx.acceptWebSocket(server);
		return new Response(null, { status: 101, webSocket: client });
	}
	async webSocketMessage(ws, message) {
		if (message === "spin") for (;;);
		const all = ((await this.ctx.storage.get("all")) ?? 0) + 1;
		await this.ctx.storage.put("all", all);
		for (const s of this.ctx.getWebSockets()) s.send(message + " " + ++this.#heard + " of " + all);
	}
	ok() { return "ok"; }
}
export default { async fetch(request, env) {
	const stub = env.ROOM.getByName(new URL(request.url).pathname);
	return request.headers.get("upgrade") ? stub.fetch(request) : new Response(await stub.ok());
} };`

// A WebSocket outlives its object, which leaves memory after ten idle seconds and is made again for the next message; and a
// message that uses up the CPU limit ends its object, not others.
func TestObjectsHibernate(t *testing.T) {
	r := newRig(t, node.Config{})
	r.dispatcher(dispatchByHost, nil)
	m := withClass("ROOM", "Room", map[string]any{"new_tag": "v1", "new_sqlite_classes": []string{"Room"}})
	m["limits"] = map[string]any{"cpu_ms": 200}
	if refused := r.upload("production/alice", room, m); refused != "" {
		t.Fatal(refused)
	}
	dial := func(path string) *websocket.Conn {
		t.Helper()
		cfg, err := websocket.NewConfig("ws://alice."+zone+path, "http://alice."+zone)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", strings.TrimPrefix(r.edge, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(40 * time.Second))
		ws, err := websocket.NewClient(cfg, conn)
		if err != nil {
			t.Fatal(err)
		}
		return ws
	}
	quiet := dial("/quiet")
	say := func(text, want string) {
		t.Helper()
		var got string
		if err := websocket.Message.Send(quiet, text); err != nil {
			t.Fatal(err)
		}
		if err := websocket.Message.Receive(quiet, &got); err != nil || got != want {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
	say("a", "a 1 of 1")
	say("b", "b 2 of 2")
	spinner := dial("/spinner")
	if err := websocket.Message.Send(spinner, "spin"); err != nil {
		t.Fatal(err)
	}
	<-time.After(12 * time.Second)
	if status, got := r.get("alice", "/other"); status != 200 || got != "ok" {
		t.Errorf("another object: %d %s", status, got)
	}
	say("c", "c 1 of 3")
}
