package cache

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func TestReadMessage(t *testing.T) {
	const text = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX: 1\r\nX: 2\r\nConnection: y, close\r\nY: z\r\nTransfer-Encoding: chunked\r\nCf-Cache-Status: MISS\r\n\r\nbody"
	for name, r := range map[string]io.Reader{"whole": strings.NewReader(text), "by byte": iotest.OneByteReader(strings.NewReader(text)), "halves": iotest.HalfReader(strings.NewReader(text))} {
		m, err := readMessage(r)
		if err != nil {
			t.Fatal(name, err)
		}
		body, err := io.ReadAll(m.body)
		if m.status != 200 || m.length != 4 || string(body) != "body" || err != nil {
			t.Errorf("%s: %d, length %d, body %q, %v", name, m.status, m.length, body, err)
		}
		if diff := cmp.Diff(http.Header{"X": {"1", "2"}}, m.header); diff != "" {
			t.Error(name, diff)
		}
	}
	for _, text := range []string{
		"", "HTTP/1.1 200 OK", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nA: b\r\n", "HTTP/2 200\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 +20 OK\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n", "GET / HTTP/1.1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("b", maxHead) + "\r\n\r\n",
	} {
		if _, err := readMessage(strings.NewReader(text)); !errors.Is(err, errMessage) {
			t.Errorf("%.60q: %v", text, err)
		}
	}
	if m, err := readMessage(strings.NewReader("HTTP/1.1 204\r\n\r\n")); err != nil || m.status != 204 || m.length != -1 {
		t.Errorf("without a reason: %+v, %v", m, err)
	}
}

func FuzzReadMessage(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nVary: a\r\n\r\nbody")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := readMessage(strings.NewReader(text))
		if err != nil {
			return
		}
		body, err := io.ReadAll(m.body)
		if err != nil || !strings.HasSuffix(text, string(body)) || len(m.header["Transfer-Encoding"]) > 0 {
			t.Errorf("%q: body %q, header %q, %v", text, body, m.header, err)
		}
		lifetime(nil, m.status, m.header, noon)
	})
}
