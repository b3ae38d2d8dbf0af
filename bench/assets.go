package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/client"
	"atoll.dev/atoll/internal/wire"
)

// The subjects of assets: the same tree of files, by Debian's nginx from the disk, by the edge as the assets of an
// account's script, and by the edge through a dispatch Worker as those of a user Worker.
const (
	byNginx    = "nginx"
	byRoute    = "atoll, by route"
	byDispatch = "atoll, through a dispatch Worker"
)

// siteName is the script of the assets, siteHost where its route leads.
const (
	siteName = "site"
	siteHost = "assets.test"
)

// siteFile is one file of the tree. Its text is ASCII, as the load generator's instructions are JSON.
type siteFile struct {
	name, path, text string
}

func siteTree() []siteFile {
	text := func(line string, size int) string { return strings.Repeat(line, size/len(line)+1)[:size] }
	return []siteFile{
		{"small HTML", "small.html", text("<p>a small page of HTML</p>\n", 600)},
		{"100 KB script", "script.js", text("export function f(a, b) { return a * 31 + b; }\n", 100<<10)},
		{"10 MB file", "big.bin", text("0123456789abcdef", 10<<20)},
	}
}

// assets measures static files beside nginx.
func (b *bench) assets() error {
	nginx, err := findNginx()
	if err != nil {
		b.say("%v", err)
		return nil
	}
	files := siteTree()
	var subjects []subjectServer
	defer func() {
		for _, s := range subjects {
			s.close()
		}
	}()
	srv, err := b.startNginx(nginx, files)
	if err != nil {
		return fmt.Errorf("start nginx: %w", err)
	}
	subjects = append(subjects, subjectServer{byNginx, srv})
	if !b.opts.bare {
		n, err := b.startSite(files)
		if err != nil {
			return fmt.Errorf("start atoll: %w", err)
		}
		route := n.server()
		through := *route
		through.close = func() {}
		subjects = append(subjects, subjectServer{byRoute, route}, subjectServer{byDispatch, &through})
	}
	for _, f := range files {
		for _, connections := range b.opts.connections {
			if err := b.assetsTable(subjects, f, connections); err != nil {
				return err
			}
		}
	}
	return nil
}

// assetLoad asks a subject for a file. Pages of HTML are served without their extension, so nginx is asked for the name.
func assetLoad(s subjectServer, f siteFile, connections int, d time.Duration) load {
	at, path := siteHost, "/"+f.path
	if s.name == byDispatch {
		at = host(siteName)
	}
	if s.name != byNginx {
		path = strings.TrimSuffix(path, ".html")
	}
	return load{Network: s.network, Address: s.address, Request: request(at, path), Want: f.text, Connections: connections, Duration: d}
}

// assetsTable measures one file in turns.
func (b *bench) assetsTable(subjects []subjectServer, f siteFile, connections int) error {
	var names []string
	for _, s := range subjects {
		names = append(names, s.name)
	}
	t := newTable(fmt.Sprintf("Static assets, %s, %d connections (%d turns of %s)", f.name, connections, b.opts.pairs, b.opts.duration), loadColumns, names...)
	t.ID = fmt.Sprintf("assets/%s/%d", f.name, connections)
	for _, s := range subjects { // what is read and compiled at first is not measured
		if _, err := b.offer(assetLoad(s, f, connections, time.Second)); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	noise := b.listen()
	for range b.opts.pairs {
		for _, s := range subjects {
			if err := b.sample(t, s, assetLoad(s, f, connections, b.opts.duration)); err != nil {
				return err
			}
		}
	}
	t.note("%s", noise.heard())
	t.note("a request is %d bytes of body, so the ratio of requests/s is that of bytes/s", len(f.text))
	if len(subjects) > 1 {
		t.finish([2]string{byRoute, byNginx}, [2]string{byDispatch, byNginx})
	} else {
		t.finish()
	}
	b.publish(t)
	return nil
}

// findNginx finds Debian's nginx, which is not in everybody's PATH.
func findNginx() (string, error) {
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("assets: left out, there is no nginx: apt-get install nginx-light brings it")
}

// nginxConfig is what Debian's nginx.conf says, but for the log of each request, for paths, and for the user.
const nginxConfig = `%sworker_processes auto;
daemon off;
pid %[2]s/nginx.pid;
error_log stderr;
events { worker_connections 768; }
http {
	sendfile on;
	tcp_nopush on;
	types_hash_max_size 2048;
	include /etc/nginx/mime.types;
	default_type application/octet-stream;
	access_log off;
	gzip on;
	keepalive_requests 1000000000;
	client_body_temp_path %[2]s/body;
	proxy_temp_path %[2]s/proxy;
	fastcgi_temp_path %[2]s/fastcgi;
	uwsgi_temp_path %[2]s/uwsgi;
	scgi_temp_path %[2]s/scgi;
	server { listen %[3]s; root %[2]s/root; }
}
`

// startNginx serves the files from the disk.
func (b *bench) startNginx(path string, files []siteFile) (*server, error) {
	dir, err := os.MkdirTemp(b.dir, "nginx-")
	if err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	if err := writeTree(filepath.Join(dir, "root"), files); err != nil {
		return nil, err
	}
	l, err := listenTCP()
	if err != nil {
		return nil, err
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil { // nginx listens by itself: the port is free again for a moment
		return nil, fmt.Errorf("close listener: %w", err)
	}
	user := ""
	if os.Getuid() == 0 {
		user = "user root;\n" // the bench's directory is nobody else's
	}
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, nginxConfig, user, dir, address), 0o600); err != nil {
		return nil, fmt.Errorf("write configuration: %w", err)
	}
	p, err := b.start("nginx", exec.Command(path, "-c", config, "-p", dir, "-e", "stderr"))
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(maxAnswer); ; {
		c, err := dial("tcp", address)
		if err == nil {
			c.Close()
			break
		}
		if time.Now().After(deadline) {
			p.kill()
			return nil, fmt.Errorf("%w: %s", err, p.said())
		}
		if err := b.sleep(20 * time.Millisecond); err != nil {
			p.kill()
			return nil, err
		}
	}
	return &server{"tcp", address, func() []int { return tree(p.pid()) }, p.stop}, nil
}

func writeTree(dir string, files []siteFile) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make tree: %w", err)
	}
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(dir, f.path), []byte(f.text), 0o644); err != nil {
			return fmt.Errorf("write tree: %w", err)
		}
	}
	return nil
}

// startSite starts a node with the files as the assets of an account's script and of a user Worker.
func (b *bench) startSite(files []siteFile) (*node, error) {
	n, err := b.startNode()
	if err != nil {
		return nil, err
	}
	err = n.platform(dispatchScript)
	for _, ref := range []atoll.ScriptRef{{Name: siteName}, user(siteName)} {
		if err == nil {
			err = n.deploySite(ref, files)
		}
	}
	if err == nil {
		err = n.routeSite()
	}
	if err != nil {
		n.stop()
		return nil, fmt.Errorf("%w\n%s", err, n.proc.said())
	}
	return n, nil
}

// deploySite deploys the files as a script without code.
func (n *node) deploySite(ref atoll.ScriptRef, files []siteFile) error {
	ctx, cancel := context.WithTimeout(n.b.ctx, maxAnswer)
	defer cancel()
	manifest, content := map[string]wire.AssetsFile{}, map[string][]byte{}
	for i, f := range files {
		hash := fmt.Sprintf("%032x", i+1) // a client's hash is its own affair
		manifest["/"+f.path] = wire.AssetsFile{Hash: hash, Size: int64(len(f.text))}
		content[hash] = []byte(f.text)
	}
	up, err := n.client.BeginAssets(ctx, ref, manifest)
	if err == nil && len(up.Buckets) > 0 {
		up, err = n.client.UploadAssets(ctx, up.JWT, content)
	}
	if err != nil {
		return fmt.Errorf("upload assets of %s: %w", ref, err)
	}
	meta := map[string]any{"compatibility_date": compatibilityDate, "assets": map[string]any{"jwt": up.JWT}}
	if _, err := n.client.Deploy(ctx, ref, client.Upload{Metadata: meta}); err != nil {
		return fmt.Errorf("deploy %s: %w", ref, err)
	}
	return nil
}

// routeSite leads a host to the account's script, in a zone of its own.
func (n *node) routeSite() error {
	ctx, cancel := context.WithTimeout(n.b.ctx, maxAnswer)
	defer cancel()
	z, err := n.client.CreateZone(ctx, siteHost)
	if err != nil {
		return fmt.Errorf("create zone: %w", err)
	}
	_, err = n.client.CreateRoute(ctx, z.ID, wire.Route{Pattern: siteHost + "/*", Script: siteName})
	return err
}
