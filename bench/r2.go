package main

import (
	"context"
	"fmt"
	"time"

	"atoll.dev/atoll/internal/wire"
)

// r2Script stores and reads objects of two sizes. Answers are short, so that R2 is measured and not the way of its bytes to
// the client.
const r2Script = `let n = 0;
const small = new Uint8Array(1000).fill(7), large = new Uint8Array(1e7).fill(7);
export default {
  async fetch(request, env) {
    switch (new URL(request.url).pathname) {
      case "/prepare":
        await env.BUCKET.put("small", small);
        await env.BUCKET.put("large", large);
        return new Response("ready");
      case "/get-small":
        return new Response(String((await (await env.BUCKET.get("small")).arrayBuffer()).byteLength));
      case "/get-large": { // as it comes: eight of them would not fit into an isolate
        let size = 0;
        for await (const chunk of (await env.BUCKET.get("large")).body) size += chunk.byteLength;
        return new Response(String(size));
      }
      case "/put-small":
        return new Response(String((await env.BUCKET.put("small-" + n++ % 1000, small)).size));
      case "/put-large":
        return new Response(String((await env.BUCKET.put("large-" + n++ % 10, large)).size));
    }
  },
};`

var r2Options = map[string]any{"r2Buckets": map[string]any{"BUCKET": "bench"}}

func bindR2(ctx context.Context, n *node) ([]map[string]any, error) {
	b, err := n.client.CreateR2Bucket(ctx, wire.R2BucketRequest{Name: fmt.Sprintf("bench-%d", time.Now().UnixNano())})
	if err != nil {
		return nil, fmt.Errorf("create R2 bucket: %w", err)
	}
	return []map[string]any{{"type": "r2_bucket", "name": "BUCKET", "bucket_name": b.Name}}, nil
}
