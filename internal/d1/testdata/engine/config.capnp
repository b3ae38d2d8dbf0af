using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "main", worker = (
      modules = [(name = "worker.js", esModule = embed "worker.js")],
      compatibilityDate = "2026-01-01",
      bindings = [
        (name = "OURS", wrapped = (
          moduleName = "cloudflare-internal:d1-api",
          innerBindings = [(name = "fetcher", service = "ours")])),
        (name = "WORKERD", wrapped = (
          moduleName = "cloudflare-internal:d1-api",
          innerBindings = [(name = "fetcher", service = (name = "workerd", props = (json = "{\"database\": \"one\"}")))])),
      ])),
    (name = "ours", external = (address = "unix:ours.sock", http = ())),
    (name = "workerd", worker = (
      modules = [(name = "d1.js", bundled = "/workerd/d1.js")],
      compatibilityDate = "2026-01-01",
      durableObjectNamespaces = [(className = "D1Database", uniqueKey = "d1", enableSql = true)],
      durableObjectStorage = (localDisk = "disk"),
      bindings = [(name = "DATABASE", durableObjectNamespace = "D1Database")])),
    (name = "disk", disk = (path = "disk", writable = true)),
  ],
  sockets = [(name = "http", address = "unix:main.sock", http = (), service = "main")],
);
