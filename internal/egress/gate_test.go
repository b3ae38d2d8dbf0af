package egress

import (
	"bufio"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"atoll.dev/atoll/internal/atoll"
)

// zone is the addresses of names, in place of DNS. Every lookup takes the next answer of a name; the last one stays.
type zone struct {
	mu      sync.Mutex
	answers map[string][][]string
	asked   map[string]int
}

func newZone(answers map[string][][]string) *zone {
	return &zone{answers: answers, asked: map[string]int{}}
}

func (z *zone) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	host = strings.TrimSuffix(host, ".")
	list := z.answers[host]
	if len(list) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	n := min(z.asked[host], len(list)-1)
	z.asked[host]++
	var out []netip.Addr
	for _, s := range list[n] {
		out = append(out, netip.MustParseAddr(s))
	}
	return out, nil
}

// table is rules in memory.
type table struct {
	mu    sync.Mutex
	rules map[atoll.ScriptRef]atoll.EgressRules // without a name: the namespace's
	err   error
}

func (s *table) set(ref atoll.ScriptRef, r atoll.EgressRules) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rules == nil {
		s.rules = map[atoll.ScriptRef]atoll.EgressRules{}
	}
	s.rules[ref] = r
}

func (s *table) EgressRules(_ context.Context, ref atoll.ScriptRef) (ns, script *atoll.EgressRules, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.rules[ref]; ok {
		script = &r
	}
	ref.Name = ""
	if r, ok := s.rules[ref]; ok {
		ns = &r
	}
	return ns, script, s.err
}

// gate is a Gate in a test, and what it has observed.
type gate struct {
	*Gate
	t *testing.T

	mu      sync.Mutex
	records []Record
}

func newGate(t *testing.T, opts Options) *gate {
	t.Helper()
	g := &gate{t: t}
	opts.Observe = func(r Record) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.records = append(g.records, r)
	}
	g.Gate = New(slog.New(slog.DiscardHandler), opts)
	t.Cleanup(func() { g.Close() })
	return g
}

// last returns the newest record; a subrequest's record comes just after its answer has ended.
func (g *gate) last(n int) Record {
	g.t.Helper()
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		g.mu.Lock()
		list := g.records
		g.mu.Unlock()
		if len(list) >= n {
			return list[n-1]
		}
		<-time.After(time.Millisecond)
	}
	g.t.Fatalf("there is no record number %d", n)
	return Record{}
}

// front is the border: it serves what a process sends, and tells why a subrequest has failed.
func (g *gate) front(c Caller, proto string) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var err error
		if r.Method == http.MethodConnect {
			err = g.Connect(w, r, c, r.Host, proto == "tls")
		} else {
			err = g.Fetch(w, r, c, proto)
		}
		if err != nil {
			http.Error(w, Reason(err), http.StatusBadGateway)
		}
	}))
	g.t.Cleanup(s.Close)
	return s
}

// ask sends a request for host to front.
func ask(t *testing.T, front *httptest.Server, method, host, target string, body io.Reader, header ...string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequest(method, front.URL+target, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if errors.Is(err, io.EOF) {
		return 0, nil, "broken off"
	}
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return res.StatusCode, res.Header, "broken off: " + err.Error()
	}
	return res.StatusCode, res.Header, strings.TrimSpace(string(b))
}

func origin(t *testing.T, h http.HandlerFunc) (addr string) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// rawAsk sends a target that package url would not.
func rawAsk(t *testing.T, front *httptest.Server, host, target string) (int, http.Header, string) {
	t.Helper()
	c, err := net.Dial("tcp", front.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: test\r\nConnection: close\r\n\r\n", target, host)
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, res.Header, string(b)
}

// secureOrigin serves HTTPS with HTTP/2 under a certificate for example.com that no system trusts.
func secureOrigin(t *testing.T, h http.HandlerFunc) (port string, roots *x509.CertPool) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	s.StartTLS()
	t.Cleanup(s.Close)
	roots = x509.NewCertPool()
	roots.AddCert(s.Certificate())
	_, port, _ = net.SplitHostPort(s.Listener.Addr().String())
	return port, roots
}
