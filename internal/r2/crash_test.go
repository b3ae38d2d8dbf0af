package r2

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"atoll.dev/atoll/internal/durable/killtest"
	"atoll.dev/atoll/internal/fault"
)

// TestMain lets the test binary be the process that TestKill kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv("R2_TEST_WRITE"); dir != "" {
		fmt.Fprintln(os.Stderr, writeForever(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// killSizes are those of the objects by which their content is stored: none, beside the row, in a file, in parts.
var killSizes = []int{0, 100, maxInline + 100, 3 * maxInline}

// body is the content of version n of object k. It begins with n, and is a pattern of n behind.
func killBody(k, n int) []byte {
	b := pattern(killSizes[k%len(killSizes)])
	return append(fmt.Appendf(nil, "%d ", n), b...)
}

// writeForever writes and deletes from several goroutines and says "key n" on its standard output for each write that was
// acknowledged, before the next of that key begins; n is 0 for a deletion. "?" says which is about to be tried.
func writeForever(dir string) error {
	s, err := Open(nil, dir, Options{MinPart: 10})
	if err != nil {
		return err
	}
	go s.Run(context.Background())
	ref := Ref{account, "one"}
	var mu sync.Mutex
	say := func(args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Println(args...)
	}
	ctx := context.Background()
	var wg sync.WaitGroup
	errs := make(chan error, 8)
	for k := range 8 {
		wg.Go(func() {
			for n := os.Getpid() * 1000; ; n++ {
				key := strconv.Itoa(k)
				if n%7 == 6 {
					say("?", k, 0)
					if err := s.Delete(ctx, ref, key); err != nil {
						errs <- err
						return
					}
					say(k, 0)
					continue
				}
				say("?", k, n)
				if err := killPut(ctx, s, ref, key, k, n); err != nil {
					errs <- err
					return
				}
				say(k, n)
			}
		})
	}
	return <-errs
}

func killPut(ctx context.Context, s *Store, ref Ref, key string, k, n int) error {
	data := killBody(k, n)
	if k%len(killSizes) != 3 {
		_, err := s.Put(ctx, ref, key, bytes.NewReader(data), PutOptions{Length: int64(len(data))})
		return err
	}
	u, err := s.CreateUpload(ctx, ref, key, PutOptions{})
	if err != nil {
		return err
	}
	var chosen []Chosen
	for number := 1; len(data) > 0; number++ {
		piece := data[:min(len(data), maxInline)]
		data = data[len(piece):]
		p, err := s.UploadPart(ctx, ref, key, u.ID, number, bytes.NewReader(piece), PutOptions{Length: int64(len(piece))})
		if err != nil {
			return err
		}
		chosen = append(chosen, Chosen{number, p.ETag})
	}
	_, err = s.CompleteUpload(ctx, ref, key, u.ID, chosen, nil)
	return err
}

// TestKill kills a process that writes, again and again, and finds every object as it was acknowledged or as the write
// under way would have made it, whole, and no file that no row names. R2_TEST_KILLS sets how often.
func TestKill(t *testing.T) {
	rounds := killtest.Rounds("R2_TEST_KILLS")
	dir := t.TempDir()
	s := openStore(t, dir, Options{})
	ref := newBucket(t, s, "one")
	s.Close()
	acked, tried := map[string]int{}, map[string]int{}
	orphans, acks := 0, 0
	for range rounds {
		acks += killWriter(t, dir, acked, tried)
		s := openStore(t, dir, Options{})
		for key := range tried {
			checkKilled(t, s, ref, key, acked[key], tried[key])
			acked[key] = killState(t, s, ref, key)
		}
		before := len(stored(t, dir))
		if err := s.removeOrphans(t.Context()); err != nil {
			t.Fatal(err)
		}
		orphans += before - len(stored(t, dir))
		if err := s.sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		named := number(t, s, `SELECT (SELECT count(*) FROM objects WHERE file IS NOT NULL) + (SELECT count(*) FROM parts)`)
		if files := len(stored(t, dir)); files != named {
			t.Errorf("%d files, of which rows name %d", files, named)
		}
		checkFigures(t, s)
		s.Close()
	}
	t.Logf("%d kills, %d acknowledged writes, %d orphans removed", rounds, acks, orphans)
}

// killState is the version of an object, 0 where there is none.
func killState(t *testing.T, s *Store, ref Ref, key string) int {
	t.Helper()
	_, body, err := s.Get(t.Context(), ref, key, GetOptions{})
	if fault.KindOf(err) == fault.NotFound {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	var b bytes.Buffer
	if _, err := body.WriteTo(&b); err != nil {
		t.Errorf("key %s: %v", key, err)
	}
	text, _, _ := strings.Cut(b.String()[:min(b.Len(), 20)], " ")
	n, _ := strconv.Atoi(text)
	return n
}

func checkKilled(t *testing.T, s *Store, ref Ref, key string, acked, tried int) {
	t.Helper()
	n := killState(t, s, ref, key)
	if n != acked && n != tried {
		t.Errorf("key %s is version %d; %d was acknowledged and %d under way", key, n, acked, tried)
	}
	if n == 0 {
		return
	}
	k, _ := strconv.Atoi(key)
	got := get(t, s, ref, key, GetOptions{})
	want := killBody(k, n)
	o, err := s.Head(t.Context(), ref, key)
	sum := md5.Sum(want)
	if !bytes.Equal(got, want) || err != nil || o.Size != int64(len(want)) || o.Parts == 0 && o.ETag != hex.EncodeToString(sum[:]) {
		t.Errorf("key %s is torn: %d bytes of %d, %+v, %v", key, len(got), len(want), o, err)
	}
}

// killWriter runs writeForever until it acknowledged some writes, and notes the last of each key.
func killWriter(t *testing.T, dir string, acked, tried map[string]int) (acks int) {
	t.Helper()
	killtest.Run(t, "R2_TEST_WRITE="+dir, func(line string) bool {
		f := strings.Fields(line)
		if f[0] == "?" {
			tried[f[1]], _ = strconv.Atoi(f[2])
			return false
		}
		acked[f[0]], _ = strconv.Atoi(f[1])
		acks++
		return acks == 60
	})
	return acks
}

// TestFullDisk fills a small disk: what does not fit is refused and leaves nothing, what was there stays, and once there is
// room again the store goes on.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skip("no tmpfs can be mounted here:", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	s := openStore(t, dir, Options{MinPart: 10})
	ref := newBucket(t, s, "one")
	sizes := []int{200 << 10, 60 << 10, 100}
	there := map[string]int{}
	full := map[int]bool{}
	for i := 0; len(full) < len(sizes) && i < 20_000; i++ {
		size := sizes[i%len(sizes)]
		if full[size] {
			continue
		}
		key := fmt.Sprint("k", i)
		_, err := s.Put(t.Context(), ref, key, bytes.NewReader(pattern(size)), PutOptions{Length: int64(size)})
		switch fault.KindOf(err) {
		case fault.Full:
			full[size] = true
			if _, err := s.Head(t.Context(), ref, key); fault.KindOf(err) != fault.NotFound {
				t.Errorf("%s was refused and is there: %v", key, err)
			}
		default:
			if err != nil {
				t.Fatal(err)
			}
			there[key] = size
		}
	}
	if len(full) != len(sizes) || len(there) == 0 {
		t.Fatalf("full for %v, %d objects", full, len(there))
	}
	_, err := s.CreateUpload(t.Context(), ref, "u", PutOptions{Custom: []Field{{"a", strings.Repeat("x", 8000)}}})
	refused(t, err, fault.Full, 10013)
	for key, size := range there {
		if got := get(t, s, ref, key, GetOptions{}); !bytes.Equal(got, pattern(size)) {
			t.Errorf("%s is damaged", key)
		}
	}
	checkFigures(t, s)
	if named, files := number(t, s, `SELECT count(*) FROM objects WHERE file IS NOT NULL`), len(stored(t, dir)); named != files {
		t.Errorf("%d files, %d rows", files, named)
	}
	// Deleting needs room for the log: the operator makes some.
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=8m"); err != nil {
		t.Fatal(err)
	}
	for key := range there {
		if err := s.Delete(t.Context(), ref, key); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.sweep(t.Context()); err != nil || len(stored(t, dir)) > 0 {
		t.Errorf("%v, files %v", err, stored(t, dir))
	}
	put(t, s, ref, "again", pattern(1<<20), PutOptions{})
	checkFigures(t, s)
	s.Close()
}
