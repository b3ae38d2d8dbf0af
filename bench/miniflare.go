package main

import (
	"bufio"
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// miniflareProgram starts miniflare, the emulator behind "wrangler dev": the same workerd, with bindings made of Workers.
//
//go:embed miniflare.mjs
var miniflareProgram []byte

// errNoMiniflare is where the tests' npm packages are not installed.
var errNoMiniflare = errors.New("miniflare is left out: npm ci in test/clients brings it")

// clientsDir is the directory of miniflare and its Node.js.
func (b *bench) clientsDir() (string, error) {
	dir := filepath.Join(b.root, "test/clients")
	for _, name := range []string{"node_modules/.bin/node", "node_modules/miniflare/package.json"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return "", errNoMiniflare
		}
	}
	return dir, nil
}

// startMiniflare starts miniflare with these Workers, the first of which gets the requests. What they store is in files, as
// "wrangler dev" keeps it.
func (b *bench) startMiniflare(workers ...map[string]any) (*server, error) {
	clients, err := b.clientsDir()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(b.dir, "miniflare-")
	if err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	program := filepath.Join(dir, "miniflare.mjs")
	if err := os.WriteFile(program, miniflareProgram, 0o600); err != nil {
		return nil, fmt.Errorf("write program: %w", err)
	}
	options, err := marshal(map[string]any{"host": "127.0.0.1", "port": 0, "cf": false, "workers": workers,
		"defaultPersistRoot": filepath.Join(dir, "state")})
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(filepath.Join(clients, "node_modules/.bin/node"), program, clients)
	cmd.Dir = dir
	cmd.Stdin = bytes.NewReader(options)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} // its workerd dies with it only when it is asked to
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("pipe: %w", err)
	}
	p, err := b.start("miniflare", cmd)
	if err != nil {
		return nil, err
	}
	address, err := b.ready(out)
	if err != nil {
		p.stop()
		return nil, fmt.Errorf("miniflare: %w: %s", err, p.said())
	}
	return &server{"tcp", address, func() []int { return tree(p.pid()) }, p.stop}, nil
}

// ready reads the line that tells the address, and discards what follows.
func (b *bench) ready(out io.Reader) (string, error) {
	lines := make(chan string, 1)
	go func() {
		r := bufio.NewReader(out)
		line, _ := r.ReadString('\n') // an end without a line is none
		lines <- strings.TrimSpace(line)
		io.Copy(io.Discard, r)
	}()
	select {
	case line := <-lines:
		address, ok := strings.CutPrefix(line, "ready ")
		if !ok {
			return "", fmt.Errorf("it said %q", line)
		}
		return address, nil
	case <-time.After(maxAnswer):
		return "", fmt.Errorf("not ready after %s", maxAnswer)
	case <-b.ctx.Done():
		return "", b.ctx.Err()
	}
}

// miniflareWorker is an ES module as miniflare's options have it, with more of them.
func miniflareWorker(name, script string, more map[string]any) map[string]any {
	w := map[string]any{"name": name, "compatibilityDate": compatibilityDate,
		"modules": []map[string]any{{"type": "ESModule", "path": "worker.js", "contents": script}}}
	for k, v := range more {
		w[k] = v
	}
	return w
}

// startMiniflareChain starts a dispatch Worker that has the user Worker as a service: miniflare has no dispatch namespaces.
func (b *bench) startMiniflareChain() (*server, error) {
	return b.startMiniflare(
		miniflareWorker("dispatcher", bareDispatchScript, map[string]any{"serviceBindings": map[string]any{helloName: helloName}}),
		miniflareWorker(helloName, helloScript, nil))
}
