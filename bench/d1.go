package main

import (
	"context"
	"fmt"
	"time"
)

// The rows of D1: a look-up by key in a table of a thousand rows, and an insert. An insert is on the disk when it is
// answered on a node; miniflare's engine answers once it has written it.
const d1Script = `
export default {
  async fetch(request, env) {
    switch (new URL(request.url).pathname) {
      case "/prepare":
        await env.DB.exec("DROP TABLE IF EXISTS t");
        await env.DB.exec("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, n INTEGER)");
        await env.DB.exec("WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r LIMIT 1000) INSERT INTO t SELECT i, 'name ' || i, i FROM r");
        return new Response("ready");
      case "/select": {
        const row = await env.DB.prepare("SELECT id, name, n FROM t WHERE id = ?").bind(500).first();
        return new Response(row.name);
      }
      case "/insert":
        await env.DB.prepare("INSERT INTO t (name, n) VALUES (?, ?)").bind("another", 1).run();
        return new Response("done");
    }
  },
};`

var d1Options = map[string]any{"d1Databases": map[string]any{"DB": "bench"}}

func bindD1(ctx context.Context, n *node) ([]map[string]any, error) {
	d, err := n.client.CreateDatabase(ctx, fmt.Sprintf("bench-%d", time.Now().UnixNano()))
	if err != nil {
		return nil, fmt.Errorf("create database: %w", err)
	}
	return []map[string]any{{"type": "d1", "name": "DB", "id": d.UUID}}, nil
}
