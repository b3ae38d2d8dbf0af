using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "main", worker = (
      modules = [(name = "main.js", esModule = embed "hello.js")],
      compatibilityDate = "2026-01-01", globalOutbound = "internet")),
    (name = "internet", external = (address = "unix:/run/out.sock", http = (style = host)))],
  sockets = [(name = "http", address = "*:0", http = (), service = "main")],
  v8Flags = ["--jitless"]);
