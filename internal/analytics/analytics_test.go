package analytics

import (
	"bytes"
	"context"
	"math"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/sqlite"
)

var script = atoll.ScriptRef{Account: "0123456789abcdef0123456789abcdef", Namespace: "production", Name: "shop"}

// bubble runs f with a store that runs, and the time of its own.
func bubble(t *testing.T, opts Options, f func(t *testing.T, s *Store, restart func() *Store)) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		var s *Store
		var stop func()
		start := func() *Store {
			var err error
			if s, err = Open(nil, dir, opts); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			own := s
			go func() { done <- own.Run(ctx) }()
			stop = func() {
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
				own.Close()
			}
			return s
		}
		start()
		defer func() { stop() }()
		f(t, s, func() *Store { stop(); return start() })
	})
}

func count(t *testing.T, s *Store, query string) int64 {
	t.Helper()
	n, err := sqlite.One(t.Context(), s.db.Reads(), sqlite.Value[int64], query)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

const all = `SELECT count(*) FROM points`

func points(n, size int) []Point {
	text := strings.Repeat("x", size)
	list := make([]Point, n)
	for i := range list {
		list[i] = Point{Index: "i", Blobs: []*string{&text}, Doubles: []float64{1, math.NaN()}}
	}
	return list
}

func TestFlush(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, s *Store, restart func() *Store) {
		s.Write(script, "clicks", points(3, 10))
		synctest.Wait()
		if n := count(t, s, all); n != 0 {
			t.Errorf("%d points are on disk at once", n)
		}
		time.Sleep(flushEvery)
		synctest.Wait()
		if n := count(t, s, all); n != 3 {
			t.Errorf("%d points are on disk after a second", n)
		}
		s.Write(script, "clicks", points(flushAt, 10))
		synctest.Wait()
		if n := count(t, s, all); n != 3+flushAt {
			t.Errorf("%d points are on disk after many", n)
		}
		s.Write(script, "other", points(1, 10))
		s = restart()
		if n := count(t, s, all); n != 4+flushAt {
			t.Errorf("%d points are on disk after a stop", n)
		}
		if n := count(t, s, `SELECT count(*) FROM points WHERE double1 = 1 AND double2 IS NULL AND blob2 IS NULL`); n != 4+flushAt {
			t.Errorf("%d points are as they were written", n)
		}
	})
}

func TestQuotaAndRetention(t *testing.T) {
	one := points(1, 100)[0]
	quota := 10 * one.size()
	bubble(t, Options{AccountBytes: quota}, func(t *testing.T, s *Store, restart func() *Store) {
		wait := func() { time.Sleep(flushEvery); synctest.Wait() }
		s.Write(script, "clicks", points(8, 100))
		wait()
		s = restart()
		s.Write(script, "clicks", points(8, 100))
		wait()
		if n := count(t, s, all); n != 10 {
			t.Errorf("%d points of 100 bytes, the quota has room for 10", n)
		}
		time.Sleep(retention + 2*sweepEvery)
		synctest.Wait()
		if n := count(t, s, all); n != 0 {
			t.Errorf("%d points after three months", n)
		}
		s.Write(script, "clicks", points(4, 100))
		wait()
		if n, bytes := count(t, s, all), count(t, s, `SELECT sum(bytes) FROM datasets`); n != 4 || bytes != 4*one.size() {
			t.Errorf("%d points and %d bytes after there was room again", n, bytes)
		}
	})
}

// What waits in memory has a bound, and one script does not fill it.
func TestBuffer(t *testing.T) {
	s, err := Open(nil, t.TempDir(), Options{}) // nobody writes to disk
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 10 * bufferBytes / maxBlobs / 100 {
		s.Write(script, "flood", points(100, maxBlobs-1))
	}
	if s.bytes > bufferBytes/4 {
		t.Errorf("one script has %d bytes in memory", s.bytes)
	}
	before := len(s.waiting)
	s.Write(atoll.ScriptRef{Account: script.Account, Name: "innocent"}, "clicks", points(1, 10))
	if len(s.waiting) != before+1 {
		t.Error("the flood holds others back")
	}
	for range bufferPoints {
		s.Write(atoll.ScriptRef{Account: script.Account, Name: "small"}, "flood", points(1, 0))
	}
	if len(s.waiting) > bufferPoints {
		t.Errorf("%d points wait", len(s.waiting))
	}
}

func FuzzParsePoints(f *testing.F) {
	f.Add([]byte(`[{"i":"a","b":["x",null],"d":[1,null]}]`))
	f.Add([]byte(`[null,{}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		n := 0
		readPoints(bytes.NewReader(data), func(p Point) bool {
			if p.Valid() && p.size() > 64+maxIndex+8*maxColumns+maxBlobs {
				t.Errorf("a valid point has %d bytes", p.size())
			}
			if len(p.Blobs) > maxColumns+1 || len(p.Doubles) > maxColumns+1 {
				t.Errorf("a point has %d blobs and %d doubles", len(p.Blobs), len(p.Doubles))
			}
			n++
			return n < MaxPoints
		})
	})
}

// What a Worker sends is bounded before it is parsed: points by their number, a point by its size, columns by their number.
func TestPointsAreBounded(t *testing.T) {
	const much = 8 << 20
	wide := "[" + strings.Repeat("null,", 10_000) + "null]"
	for _, c := range []struct {
		name, head, repeated, tail string
		taken                      int
		fails                      bool
	}{
		{"many", "[", "{},", "{}]", 250, false},
		{"large", `[{"b":["`, "x", `"]}]`, 0, true},
		{"large-of-nothing", "[", " ", "{}]", 0, true},
		{"wide", `[{"b":` + wide + `,"d":` + wide + "},", `{"i":"x"},`, "{}]", 250, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := c.head + strings.Repeat(c.repeated, much/len(c.repeated)) + c.tail
			taken := 0
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := readPoints(strings.NewReader(body), func(p Point) bool {
				if len(p.Blobs) > maxColumns+1 || len(p.Doubles) > maxColumns+1 || len(p.Blobs) > 0 && p.Valid() {
					t.Errorf("a point has %d blobs and %d doubles, valid: %v", len(p.Blobs), len(p.Doubles), p.Valid())
				}
				taken++
				return taken < MaxPoints
			})
			runtime.ReadMemStats(&after)
			if taken != c.taken || (err != nil) != c.fails {
				t.Errorf("%d points taken, %v", taken, err)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 3<<20 {
				t.Errorf("%d bytes took %d", len(body), used)
			}
		})
	}
}
