package edge

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/atoll"
)

// BenchmarkStatic asks for assets over one connection, client and server together.
func BenchmarkStatic(b *testing.B) {
	files := map[string]string{"/small.txt": strings.Repeat("x", 600), "/medium.txt": strings.Repeat("x", 100<<10), "/large.txt": strings.Repeat("x", 10<<20)}
	s := serveSite(b, Options{}, files, atoll.AssetsConfig{})
	for _, name := range []string{"small", "medium", "large"} {
		b.Run(name, func(b *testing.B) {
			c, err := net.Dial("tcp", s.Listener.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			r := bufio.NewReaderSize(c, 64<<10)
			request := fmt.Sprintf("GET /%s.txt HTTP/1.1\r\nHost: a.test\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n", name)
			b.SetBytes(int64(len(files["/"+name+".txt"])))
			for b.Loop() {
				io.WriteString(c, request)
				n := int64(0)
				for {
					line, err := r.ReadSlice('\n')
					if err != nil {
						b.Fatal(err)
					}
					if len(line) == 2 {
						break
					}
					if v, ok := strings.CutPrefix(string(line), "Content-Length: "); ok {
						fmt.Sscan(v, &n)
					}
				}
				if _, err := r.Discard(int(n)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
