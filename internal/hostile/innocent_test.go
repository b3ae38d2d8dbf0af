package hostile_test

import (
	"bufio"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long an innocent tenant may wait for its answer on a machine of two cores that is under attack.
const patience = 15 * time.Second

// watch asks an innocent tenant's Worker again and again until the returned function is called, which checks that every
// request was answered, and in time.
func (s *site) watch(t *testing.T, host string) (stop func()) {
	t.Helper()
	done := make(chan struct{})
	var clients sync.WaitGroup
	var answered int
	var slowest time.Duration
	pattern := regexp.MustCompile(aliceSays)
	clients.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			began := time.Now()
			if got := s.get(t, host, "/", ""); !pattern.MatchString(got) {
				t.Errorf("the innocent tenant got %.300q", got)
				return
			}
			answered++
			slowest = max(slowest, time.Since(began))
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	})
	return func() {
		close(done)
		clients.Wait()
		if slowest > patience {
			t.Errorf("the innocent tenant waited %v", slowest)
		}
		t.Logf("the innocent tenant was answered %d times, after %v at the most", answered, slowest.Round(time.Millisecond))
	}
}

// A visit is an innocent request to the same Worker, with the same limits and so in the same isolate, that begins before the attack and
// ends after it.
type visit struct {
	body  *io.PipeWriter
	res   *http.Response
	lines *bufio.Reader
}

// visit begins one.
func (s *site) visit(t *testing.T, host, limits string) *visit {
	t.Helper()
	r, w := io.Pipe()
	req := s.request(t, "POST", host, "/echo", limits, r)
	go io.WriteString(w, "one\n") // ends when the line has been sent, or the body closed
	res, err := s.client.Do(req)
	if err != nil {
		t.Fatalf("the innocent request: %v", err)
	}
	v := &visit{w, res, bufio.NewReader(res.Body)}
	t.Cleanup(func() { w.Close(); res.Body.Close() })
	if line, err := v.lines.ReadString('\n'); err != nil || line != "ONE\n" {
		t.Fatalf("the innocent request began with %q, %v", line, err)
	}
	return v
}

// leave ends it.
func (v *visit) leave(t *testing.T) {
	t.Helper()
	go func() {
		io.WriteString(v.body, "two\n")
		v.body.Close()
	}()
	rest, err := io.ReadAll(v.lines)
	if err != nil || string(rest) != "TWO\n" {
		t.Errorf("the innocent request in the same isolate ended with %q, %v", rest, err)
	}
}

// recovers checks that the offender itself is served again, after a back-off where it has crashed.
func (s *site) recovers(t *testing.T, host, limits string) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var got string
	for end := time.Now().Add(patience); time.Now().Before(end); <-tick.C {
		if got = s.get(t, host, "/alive", limits); got == "200 alive" {
			return
		}
	}
	t.Errorf("the Worker did not recover: %.300q", got)
}

// comesToRest asks for a path, whose answer tells how far an attack has come, until it stays the same.
func (s *site) comesToRest(t *testing.T, host, path, limits string) {
	t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	var seen []string
	for end := time.Now().Add(patience); time.Now().Before(end); <-tick.C {
		got := s.get(t, host, path, limits)
		if strings.HasPrefix(got, "200 ") && len(seen) > 0 && seen[len(seen)-1] == got {
			return
		}
		seen = append(seen, got)
	}
	t.Errorf("it goes on and on: %q", seen[max(0, len(seen)-5):])
}
