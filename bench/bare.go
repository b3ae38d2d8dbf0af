package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"atoll.dev/atoll/internal/isolate"
	"atoll.dev/atoll/internal/workerd"
)

// The Workers that are measured, the same on both sides but for how one calls the other.
const (
	helloText   = "Hello World!"
	helloScript = `export default { fetch() { return new Response("` + helloText + `"); } };`

	// The bare dispatch Worker does the work of a real one, so that only the way to the user Worker differs.
	bareDispatchScript = `export default {
  fetch(request, env) {
    const name = new URL(request.url).hostname.split(".")[0];
    return env[name].fetch(request);
  },
};`
	dispatchScript = `export default {
  fetch(request, env) {
    const name = new URL(request.url).hostname.split(".")[0];
    return env.DISPATCHER.get(name).fetch(request);
  },
};`
	compatibilityDate = "2026-01-01"
	zone              = "atoll.localhost"
	helloName         = "hello"
)

// v8Flags are those that a node gives its processes.
var v8Flags = isolate.V8Flags(isolate.DefaultMemory)

// server is something that answers HTTP requests at an address.
type server struct {
	network, address string
	pids             func() []int // its processes
	close            func()
}

// bareConfig serves one Worker on a socket named http, with bindings to services at Unix sockets by name.
func bareConfig(script string, services map[string]string) workerd.Config {
	w := workerd.Worker{
		Modules:           []workerd.Module{{Name: "worker.js", Body: []byte(script)}},
		CompatibilityDate: compatibilityDate,
	}
	cfg := workerd.Config{V8Flags: v8Flags, Sockets: []workerd.Socket{{Name: "http", Address: "*:0", Service: workerd.Designator{Name: "main"}}}}
	for name, path := range services {
		w.Bindings = append(w.Bindings, workerd.Binding{Name: name, Value: workerd.Fetcher{Name: name}})
		cfg.Services = append(cfg.Services, workerd.Service{Name: name, Kind: workerd.External{Address: "unix:" + path}})
	}
	cfg.Services = append(cfg.Services, workerd.Service{Name: "main", Kind: w})
	return cfg
}

// startBare starts a workerd that serves cfg on the listener, which it closes.
func (b *bench) startBare(name string, cfg workerd.Config, l net.Listener) (*process, error) {
	defer l.Close()
	message, err := workerd.Encode(cfg)
	if err != nil {
		return nil, err
	}
	return b.startWorkerd(name, l, bytes.NewReader(message), "--binary", "-")
}

// startWorkerd runs workerd serve on a listener that already listens: connections made from now on wait for it.
func (b *bench) startWorkerd(name string, l net.Listener, stdin io.Reader, args ...string) (*process, error) {
	file, err := l.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		return nil, fmt.Errorf("listener of %s: %w", name, err)
	}
	defer file.Close()
	cmd := exec.Command(b.workerd.Path, append([]string{"serve", "--socket-fd", "http=3"}, args...)...)
	cmd.Env = []string{}
	cmd.ExtraFiles = []*os.File{file}
	cmd.Stdin = stdin
	return b.start(name, cmd)
}

func listenTCP() (net.Listener, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return l, nil
}

// startHello starts one workerd with the hello Worker on a TCP port.
func (b *bench) startHello() (*server, error) {
	l, err := listenTCP()
	if err != nil {
		return nil, err
	}
	p, err := b.startBare("hello", bareConfig(helloScript, nil), l)
	if err != nil {
		return nil, err
	}
	return &server{"tcp", l.Addr().String(), func() []int { return []int{p.pid()} }, p.kill}, nil
}

// startChain starts two: a dispatch Worker on a TCP port, which reaches the hello Worker over a Unix socket.
func (b *bench) startChain() (*server, error) { return b.startChainOf(helloName, helloScript) }

// startChainOf is startChain with another user Worker.
func (b *bench) startChainOf(name, script string) (*server, error) {
	path := filepath.Join(b.dir, "chain-"+name+".sock")
	ul, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	ul.SetUnlinkOnClose(false)
	user, err := b.startBare("chain-user", bareConfig(script, nil), ul)
	if err != nil {
		return nil, err
	}
	l, err := listenTCP()
	if err != nil {
		user.kill()
		return nil, err
	}
	front, err := b.startBare("chain-dispatch", bareConfig(bareDispatchScript, map[string]string{name: path}), l)
	if err != nil {
		user.kill()
		return nil, err
	}
	end := func() { front.kill(); user.kill(); os.Remove(path) }
	return &server{"tcp", l.Addr().String(), func() []int { return []int{front.pid(), user.pid()} }, end}, nil
}

// textConfig is bareConfig of the hello Worker as an operator would write it, in a directory with its script.
func (b *bench) textConfig() (path string, err error) {
	dir, err := os.MkdirTemp(b.dir, "text-")
	if err != nil {
		return "", fmt.Errorf("make directory: %w", err)
	}
	flags := `"` + strings.Join(v8Flags, `", "`) + `"`
	config := `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = (
    modules = [(name = "worker.js", esModule = embed "worker.js")],
    compatibilityDate = "` + compatibilityDate + `"))],
  sockets = [(name = "http", address = "*:0", http = (), service = "main")],
  v8Flags = [` + flags + `]);
`
	for name, text := range map[string]string{"worker.js": helloScript, "config.capnp": config} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return "", fmt.Errorf("write %s: %w", name, err)
		}
	}
	return filepath.Join(dir, "config.capnp"), nil
}
