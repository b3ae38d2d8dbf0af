package workerd_test

import (
	"io"
	"net/http"
	"testing"

	"atoll.dev/atoll/internal/workerd"
	"atoll.dev/atoll/internal/workerd/workerdtest"
)

const date = "2026-11-01"

// hello is a configuration of one Worker, main, on the socket in.
func hello(source string, more ...workerd.Module) workerd.Config {
	return workerd.Config{
		Services: []workerd.Service{{Name: "main", Kind: workerd.Worker{
			Modules:           append([]workerd.Module{{Name: "main.js", Body: []byte(source)}}, more...),
			CompatibilityDate: date,
		}}},
		Sockets: []workerd.Socket{{Name: "in", Service: workerd.Designator{Name: "main"}}},
	}
}

func get(t *testing.T, c *http.Client, url string) string {
	t.Helper()
	res, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s: %s", url, res.Status, body)
	}
	return string(body)
}

func TestServeHello(t *testing.T) {
	t.Parallel()
	s := workerdtest.Serve(t, hello(`export default { fetch() { return new Response("hello") } }`))
	if got := get(t, s.Client(t, "in"), "http://x/"); got != "hello" {
		t.Errorf("got %q", got)
	}
}
