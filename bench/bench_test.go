package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestHistogram(t *testing.T) {
	var h histogram
	var list []time.Duration
	for range 10_000 {
		d := time.Duration(rand.ExpFloat64() * float64(time.Millisecond))
		h.add(d)
		list = append(list, d)
	}
	slices.Sort(list)
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 1} {
		want := list[max(int(q*float64(len(list)))-1, 0)]
		if got := h.quantile(q); got < want-want/32 || got > want+want/32 {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	for i := range 3000 {
		if got := bucket(middle(i)); got != i {
			t.Fatalf("the middle of bucket %d, %d, is in bucket %d", i, middle(i), got)
		}
	}
}

func TestParse(t *testing.T) {
	for name, c := range map[string]struct {
		text   string
		status int
		body   string
		rest   string
	}{
		"length":    {"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabcHTTP", 200, "abc", "HTTP"},
		"none":      {"HTTP/1.1 204 No Content\r\n\r\n", 204, "", ""},
		"chunked":   {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\nX", 200, "abc0123456789", "X"},
		"interim":   {"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 404 Not Found\r\ncontent-length: 1\r\n\r\nx", 404, "x", ""},
		"no-reason": {"HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n", 200, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			whole := len(c.text) - len(c.rest)
			for i := range whole {
				if _, n, err := parse([]byte(c.text[:i])); n != 0 || err != nil {
					t.Fatalf("of %d bytes it takes %d, %v", i, n, err)
				}
			}
			res, n, err := parse([]byte(c.text))
			if err != nil || n != whole || res.status != c.status || string(res.body) != c.body {
				t.Errorf("got %d %q, %d bytes of %d, %v", res.status, res.body, n, whole, err)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, n, err := parse(b); n > len(b) || n > 0 && err != nil {
			t.Errorf("takes %d of %d bytes, %v", n, len(b), err)
		}
	})
}

// The generator against a server that fails every tenth request in some way.
func TestLoad(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			address := "127.0.0.1:0"
			if network == "unix" {
				address = filepath.Join(t.TempDir(), "s")
			}
			l, err := net.Listen(network, address)
			if err != nil {
				t.Fatal(err)
			}
			count := make(chan int, 1)
			count <- 0
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				n := <-count
				count <- n + 1
				switch n % 30 {
				case 0:
					w.WriteHeader(http.StatusBadGateway)
				case 10:
					w.Write([]byte("other"))
				case 20:
					panic(http.ErrAbortHandler)
				default:
					w.Write([]byte("right"))
				}
			}))
			s.Listener.Close()
			s.Listener = l
			s.Start()
			defer s.Close()
			res := offered(t, load{Network: network, Address: l.Addr().String(), Request: request("h", "/"), Want: "right",
				Connections: 4, Duration: 300 * time.Millisecond})
			if res.Requests < 30 || res.Latency.N != uint64(res.Requests) || res.Elapsed < 300*time.Millisecond {
				t.Errorf("%d requests, %d latencies in %s", res.Requests, res.Latency.N, res.Elapsed)
			}
			if part := float64(res.Errors) / float64(res.Requests+res.Errors); part < 0.08 || part > 0.12 || res.FirstError == "" {
				t.Errorf("%d errors beside %d requests, first %q", res.Errors, res.Requests, res.FirstError)
			}
		})
	}
}

// offered is what came of a load, as the program that offers it tells.
func offered(t *testing.T, l load) (res loadResult) {
	t.Helper()
	in, err := marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := loadMain(bytes.NewReader(in), &out); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out.Bytes(), &res); err != nil {
		t.Fatal(err)
	}
	return res
}

// A load whose requests take longer than it goes on until some have been answered.
func TestLoadOfFewRequests(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-time.After(50 * time.Millisecond)
		w.Write([]byte("right"))
	}))
	defer s.Close()
	res := offered(t, load{Network: "tcp", Address: s.Listener.Addr().String(), Request: request("h", "/"), Want: "right",
		Connections: 2, Duration: time.Millisecond, AtLeast: 4})
	if res.Requests < 4 || res.Requests > 5 || res.Errors > 0 || res.Elapsed < 100*time.Millisecond {
		t.Errorf("%d requests and %d errors in %s", res.Requests, res.Errors, res.Elapsed)
	}
}

// An open loop keeps its rate beside a server that stalls, and counts the time for which requests had to wait.
func TestLoadAtARate(t *testing.T) {
	stall := make(chan bool, 1)
	stall <- true
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-stall:
			<-time.After(200 * time.Millisecond)
		default:
		}
		w.Write([]byte("right"))
	}))
	defer s.Close()
	res := offered(t, load{Network: "tcp", Address: s.Listener.Addr().String(), Request: request("h", "/"), Want: "right",
		Connections: 1, Duration: 600 * time.Millisecond, Rate: 100})
	if res.Errors > 0 || res.Requests < 40 || res.Requests > 60 {
		t.Errorf("%d requests and %d errors in %s", res.Requests, res.Errors, res.Elapsed)
	}
	// The twenty that were due meanwhile have waited, too.
	if got := res.Latency.quantile(0.8); got < 60*time.Millisecond {
		t.Errorf("a fifth took at least %s", got)
	}
}

func TestMedianInterval(t *testing.T) {
	var list []float64
	for i := range 20 {
		list = append(list, float64(20-i))
	}
	// 6 and 15 of 20: the probability of 5 or fewer heads in 20 throws is 0.021, of 6 or fewer 0.058.
	if low, high := medianInterval(list); low != 6 || high != 15 {
		t.Errorf("of 20: %v to %v", low, high)
	}
	if low, high := medianInterval(list[:5]); low != 16 || high != 20 {
		t.Errorf("of 5, which are too few: %v to %v", low, high)
	}
	if low, high := medianInterval(nil); low != 0 || high != 0 {
		t.Errorf("of none: %v to %v", low, high)
	}
}

func TestParseWrk(t *testing.T) {
	res, err := parseWrk([]byte(`Running 1s test @ http://127.0.0.1:1/
  1 threads and 8 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.00ms  500.00us   9.00ms   90.00%
  Latency Distribution
     50%  812.00us
     75%    1.00ms
     90%    1.50ms
     99%    4.40ms
  9000 requests in 1.10s, 1.31MB read
  Non-2xx or 3xx responses: 7
Requests/sec:   8181.00
`))
	if err != nil {
		t.Fatal(err)
	}
	p50, p99 := res.Latency.quantile(0.5), res.Latency.quantile(0.99)
	if res.Requests != 8993 || res.Errors != 7 || res.Elapsed != 1100*time.Millisecond || p50/1e5 != 8 || p99/1e5 < 43 || p99/1e5 > 44 {
		t.Errorf("got %+v, p50 %s, p99 %s", res, p50, p99)
	}
}

func TestTable(t *testing.T) {
	tab := newTable("T", []column{{Name: "rate"}, {Name: "errors", Sum: true}}, "a", "b")
	for i, v := range []float64{10, 30, 20} {
		tab.add("a", v, 1)
		tab.add("b", v/float64(i+1), 0)
	}
	tab.note("noisy")
	tab.finish([2]string{"b", "a"})
	var out strings.Builder
	tab.write(&out)
	want := `
T
                      rate  errors
  a                     20       3
  b                     10       0
  b / a  0.50x (0.33-1.00)       -
  noisy
`
	if out.String() != want {
		t.Errorf("got %s", out.String())
	}
}

// The report tells what a run has measured, and which claims it keeps.
func TestReport(t *testing.T) {
	kinds := newTable("T", []column{{Name: "requests/s"}}, routedByWorker, routedBySubdomain, routedByKV)
	kinds.ID = "router/8"
	rows := newTable("U", []column{{Name: "requests/s"}}, byMiniflare, byAtoll)
	rows.ID = "bindings/KV <get>"
	for i := range 3 {
		kinds.add(routedByWorker, 100)
		kinds.add(routedBySubdomain, float64(250+10*i))
		rows.add(byMiniflare, 100)
		rows.add(byAtoll, 50)
	}
	kinds.finish([2]string{routedBySubdomain, routedByWorker})
	rows.finish([2]string{byAtoll, byMiniflare})
	list := keep([]*table{kinds, rows})
	if len(list) != 2 || list[0].median != 2.6 || list[0].low != 2.5 || !list[0].met() || list[1].median != 0.5 || list[1].met() {
		t.Errorf("%+v", list)
	}
	b := &bench{root: t.TempDir(), tables: []*table{kinds, rows}}
	if err := os.Mkdir(filepath.Join(b.root, "docs"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := b.writeReport(machine{CPU: "a <CPU>", Date: "2026-01-02T03:04:05Z"}); err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile(filepath.Join(b.root, "docs/performance.md"))
	if err != nil || !strings.Contains(string(doc), "| 2.60 | 2.50 to 2.70 | at least 2 | met |") || !strings.Contains(string(doc), "**missed**") {
		t.Errorf("%v, %s", err, doc)
	}
	svg, err := os.ReadFile(filepath.Join(b.root, "docs/performance.svg"))
	if err != nil || xml.Unmarshal(svg, new(struct{})) != nil || !strings.Contains(string(svg), ">2.60x<") {
		t.Errorf("%v, %s", err, svg)
	}
}

// The baselines have the flags that isolate gives a process by default. It keeps them to itself, so they are read there.
func TestProcesses(t *testing.T) {
	pids := tree(os.Getpid())
	if !slices.Contains(pids, os.Getpid()) {
		t.Errorf("tree of %d: %d", os.Getpid(), pids)
	}
	if rss, pss := memory(pids); rss < 1<<20 || pss < 1<<20 || pss > rss {
		t.Errorf("rss %d, pss %d", rss, pss)
	}
	if !strings.HasPrefix("bench.test", name(os.Getpid())) {
		t.Errorf("own name is %q", name(os.Getpid()))
	}
}
