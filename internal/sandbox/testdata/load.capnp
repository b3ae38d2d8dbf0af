using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "main", worker = (
      modules = [(name = "load.js", esModule = embed "load.js"), (name = "grow.wasm", wasm = embed "grow.wasm")],
      compatibilityDate = "2026-01-01",
      compatibilityFlags = ["nodejs_compat"],
      bindings = [
        (name = "COUNTER", durableObjectNamespace = "Counter"),
        (name = "GONE", service = "gone")],
      durableObjectNamespaces = [(className = "Counter", uniqueKey = "counter", enableSql = true)],
      durableObjectStorage = (localDisk = "disk"),
      globalOutbound = "internet")),
    (name = "disk", disk = (path = "/data", writable = true)),
    (name = "gone", external = (address = "unix:/run/gone.sock", http = ())),
    (name = "internet", external = (address = "unix:/run/out.sock", http = (style = host)))],
  sockets = [(name = "http", address = "*:0", http = (), service = "main")],
  v8Flags = ["--max-old-space-size=64"]);
