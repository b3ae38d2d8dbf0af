// Package node builds a node of its parts, runs it and stops it; `atoll serve` is one call of [Run].
//
// # A tour, from the bottom up
//
// The words: [atoll.dev/atoll/internal/fault] is how things go wrong, [atoll.dev/atoll/internal/atoll] the nouns (script,
// version, binding), [atoll.dev/atoll/internal/wire] the REST API's JSON.
//
// The leaves: [atoll.dev/atoll/internal/durable] keeps files that survive a power cut,
// [atoll.dev/atoll/internal/turns] how tenants take turns,
// [atoll.dev/atoll/internal/sqlite] a database whose writers share commits, [atoll.dev/atoll/internal/store] the metadata
// in one of those, [atoll.dev/atoll/internal/kv] the KV namespaces,
// [atoll.dev/atoll/internal/r2] buckets of objects, [atoll.dev/atoll/internal/d1] the D1 databases,
// [atoll.dev/atoll/internal/queue] the queues, which it also delivers,
// [atoll.dev/atoll/internal/analytics] the data points that Workers write, [atoll.dev/atoll/internal/ratelimit] how often
// they asked for a key,
// [atoll.dev/atoll/internal/objects] the storage of Durable Objects, [atoll.dev/atoll/internal/cache] what the Cache API
// stores.
// [atoll.dev/atoll/internal/workerd] writes the engine's configuration, [atoll.dev/atoll/internal/sandbox] starts a
// program that reaches nothing, [atoll.dev/atoll/internal/prefault] has it find its pages mapped,
// [atoll.dev/atoll/internal/hop] carries HTTP over sockets,
// [atoll.dev/atoll/internal/route] matches URLs, [atoll.dev/atoll/internal/egress] lets subrequests out,
// [atoll.dev/atoll/internal/assets] takes and serves static files, [atoll.dev/atoll/internal/router] dispatches in a
// dispatch Worker's place.
//
// The runtime: [atoll.dev/atoll/internal/isolate] is one version of one script in one sandboxed process,
// [atoll.dev/atoll/internal/dispatch] decides which process serves a request, and
// [atoll.dev/atoll/internal/binding] is the border that each process's way out leads through.
//
// The control: [atoll.dev/atoll/internal/upload] reads an upload in any client's dialect,
// [atoll.dev/atoll/internal/deploy] makes a version of it, [atoll.dev/atoll/internal/cron] fires schedules.
//
// The faces: [atoll.dev/atoll/internal/edge] for the Workers' clients, [atoll.dev/atoll/internal/api] for the operator's
// tools, [atoll.dev/atoll/internal/s3] for S3 clients. [atoll.dev/atoll/internal/client] and [atoll.dev/atoll/internal/cli] are on the other side of the API.
//
// Beside all of this, [atoll.dev/atoll/internal/backup] copies a node's data directory, in a process of its own.
//
// docs/architecture.md follows one request through them.
package node
