package r2

import (
	"context"
	"fmt"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/fault"
)

func TestElements(t *testing.T) {
	for text, want := range map[string]int{
		`[1]`: 1, `[1,2,3]`: 3, ` [ 1 , 2 ] `: 2, `["a,b","c\",\\",","]`: 3, `[{"a":1,"b":[2,3]},[4,5]]`: 2, `null`: 1, `["\\",""]`: 2,
	} {
		if got := elements([]byte(text)); got != want {
			t.Errorf("%s: %d elements, want %d", text, got, want)
		}
	}
}

// A message whose lists are longer than they may be is refused before they are made: 8 MB of JSON would become 100 and more.
func TestMessagesAreBounded(t *testing.T) {
	for _, c := range []struct {
		name, text, element, end string
		code                     int
	}{
		{"objects", `{"version":1,"method":"delete","objects":[`, `""`, `]}`, CodeArgument},
		{"parts", `{"version":1,"method":"completeMultipartUpload","parts":[`, `{}`, `]}`, fault.Of(errInvalidPart()).Code},
		{"fields", `{"version":1,"method":"put","customFields":[`, `{}`, `]}`, CodeMetadata},
		{"etags", `{"version":1,"method":"put","onlyIf":{"etagMatches":[`, `{}`, `]}}`, CodeArgument},
		{"other-etags", `{"version":1,"method":"put","onlyIf":{"etagDoesNotMatch":[`, `{}`, `]}}`, CodeArgument},
		{"include", `{"version":1,"method":"list","include":[`, `1`, `]}`, CodeArgument},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := (maxMessage - len(c.text) - len(c.end)) / (len(c.element) + 1)
			text := []byte(c.text + strings.Repeat(c.element+",", n-1) + c.element + c.end)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := parseMessage(text)
			runtime.ReadMemStats(&after)
			if f := fault.Of(err); f == nil || f.Code != c.code {
				t.Errorf("%d elements: %v", n, err)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20 {
				t.Errorf("a message of %d bytes took %d", len(text), used)
			}
			if _, err := parseMessage([]byte(c.text + c.element + c.end)); err != nil {
				t.Errorf("one element: %v", err)
			}
		})
	}
}

// A Worker that sends many large messages has so many of them read at once: those of other buckets, and small ones, come
// between.
func TestLargeMessagesWait(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	evil, good := newBucket(t, s, "evil"), newBucket(t, s, "good")
	ctx, cancel := context.WithCancel(t.Context())
	send := func(ref Ref, size int, body *slow) int {
		text := `{"version":1,"method":"delete","objects":["a","` + strings.Repeat("b", 10) + `"]}`
		text += strings.Repeat(" ", size-len(text))
		body.Reader = strings.NewReader(text)
		r := httptest.NewRequest("PUT", "/", body).WithContext(ctx)
		r.Header.Set(headerSize, strconv.Itoa(size))
		w := httptest.NewRecorder()
		s.Handler(ref).ServeHTTP(w, r)
		return w.Code
	}
	reading, goOn := make(chan struct{}, 100), make(chan struct{})
	codes := make(chan int, 100)
	for range 3 * maxLarge {
		go func() { codes <- send(evil, largeMessage+1, &slow{reading: reading, goOn: goOn}) }()
	}
	for range maxLarge {
		<-reading
	}
	for _, c := range []struct {
		ref  Ref
		size int
	}{{good, largeMessage + 1}, {evil, 200}} {
		if code := send(c.ref, c.size, &slow{}); code != 200 {
			t.Errorf("%s: a message of %d bytes: %d", c.ref.Name, c.size, code)
		}
	}
	if n := len(reading); n != 0 {
		t.Errorf("%d more large messages are being read than may be", n)
	}
	close(goOn)
	for range 3 * maxLarge {
		if code := <-codes; code != 200 {
			t.Error(fmt.Sprint("a message that waited: ", code))
		}
	}
	cancel()
}

// slow is a body that tells when it is read first, and waits then.
type slow struct {
	*strings.Reader
	reading, goOn chan struct{}
	begun         bool
}

func (s *slow) Read(b []byte) (int, error) {
	if !s.begun && s.reading != nil {
		s.reading <- struct{}{}
		<-s.goOn
	}
	s.begun = true
	return s.Reader.Read(b)
}
