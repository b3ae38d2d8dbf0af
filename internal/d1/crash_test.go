package d1

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"atoll.dev/atoll/internal/d1/engine"
	"atoll.dev/atoll/internal/durable/killtest"
	"atoll.dev/atoll/internal/fault"
)

// TestMain lets the test binary be the process that TestKill kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv("D1_TEST_WRITE"); dir != "" {
		if err := writeForever(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	if dir := os.Getenv("D1_TEST_RESTORE"); dir != "" {
		if err := restoreForever(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// writers write to two databases at once: half of them alone, half in calls of several statements.
const writers = 8

// writeForever says "writer n" on its standard output for each acknowledged write. A call of several statements writes n to
// both tables, or to none.
func writeForever(dir string) error {
	s, err := Open(nil, dir, Options{})
	if err != nil {
		return err
	}
	list, _ := s.List(account, "", 1, 2)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for k := range writers {
		wg.Go(func() {
			id := list[k%2].ID
			for n := 1; ; n++ {
				p := []engine.Param{{Kind: engine.Number, Number: float64(k)}}
				queries := []Query{{SQL: "INSERT INTO a (writer, n, pad) SELECT ?1, coalesce(max(n), 0) + 1, randomblob(abs(random()) % 3000) FROM a WHERE writer = ?1 RETURNING n", Params: p}}
				if k >= writers/2 {
					queries = append(queries, Query{SQL: "INSERT INTO b (writer, n) SELECT ?1, coalesce(max(n), 0) + 1 FROM b WHERE writer = ?1", Params: p})
				}
				answer, err := s.Query(context.Background(), account, id, queries, Columns)
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					return
				}
				_, rest, _ := strings.Cut(string(answer.Body), `"rows":[[`)
				number, _, _ := strings.Cut(rest, "]")
				answer.Release()
				mu.Lock()
				fmt.Println(k, number)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return fmt.Errorf("stopped writing")
}

// TestKill kills a process that writes, again and again, and finds every acknowledged write there, no part of a call, and
// the databases whole. D1_TEST_KILLS sets how often.
func TestKill(t *testing.T) {
	rounds := killtest.Rounds("D1_TEST_KILLS")
	dir := t.TempDir()
	s := openStore(t, dir, Options{})
	ids := []ID{newDatabase(t, s, "one"), newDatabase(t, s, "two")}
	for _, id := range ids {
		want(t, s, id, "CREATE TABLE a (writer, n, pad, PRIMARY KEY (writer, n)); CREATE TABLE b (writer, n, PRIMARY KEY (writer, n))", "[]")
	}
	s.Close()
	total := 0
	acked := map[string]int{}
	for range rounds {
		total += killWriter(t, dir, acked)
		s := openStore(t, dir, Options{})
		for k := range writers {
			id := ids[k%2]
			got, err := results(t, s, id, fmt.Sprintf("SELECT coalesce(max(n), 0), count(*), (SELECT count(*) FROM b WHERE writer = %d) FROM a WHERE writer = %d", k, k))
			if err != nil {
				t.Fatal(err)
			}
			var most, rows, other int
			fmt.Sscanf(got, "[[%d,%d,%d]]", &most, &rows, &other)
			if least := acked[strconv.Itoa(k)]; most < least || most > least+1 || rows != most || k >= writers/2 && other != rows {
				t.Errorf("writer %d: %s, %d was acknowledged", k, got, least)
			}
		}
		for _, id := range ids {
			want(t, s, id, "PRAGMA quick_check", `[["ok"]]`)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d rounds, %d acknowledged writes", rounds, total)
}

// killWriter runs writeForever until it acknowledged some writes, and notes the last of each writer.
func killWriter(t *testing.T, dir string, acked map[string]int) (count int) {
	t.Helper()
	killtest.Run(t, "D1_TEST_WRITE="+dir, func(line string) bool {
		k, n, _ := strings.Cut(line, " ")
		acked[k], _ = strconv.Atoi(n)
		count++
		return count == 200
	})
	return count
}

// TestFullDisk fills the disk that the databases are on.
func TestFullDisk(t *testing.T) {
	dir := smallDisk(t, "16m")
	s := openStore(t, dir, Options{})
	id := newDatabase(t, s, "one")
	want(t, s, id, "CREATE TABLE t (a); INSERT INTO t VALUES ('kept')", "[]")
	var err error
	stored := 1
	for ; err == nil && stored < 1000; stored++ {
		_, err = results(t, s, id, "INSERT INTO t VALUES (randomblob(50000))")
	}
	if fault.KindOf(err) != fault.Full {
		t.Fatalf("after %d writes: %v", stored, err)
	}
	want(t, s, id, "SELECT count(*), max(typeof(a)) FROM t", fmt.Sprintf(`[[%d,"text"]]`, stored-1))
	want(t, s, id, "PRAGMA quick_check", `[["ok"]]`)
	if _, err := s.Create(t.Context(), Database{Account: account, Name: "two"}); err != nil && fault.KindOf(err) != fault.Full {
		t.Errorf("another database: %v", err)
	}
	// What is deleted makes room again.
	want(t, s, id, "DELETE FROM t WHERE typeof(a) = 'blob'", "[]")
	want(t, s, id, "INSERT INTO t VALUES (randomblob(50000))", "[]")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir, Options{})
	want(t, s, id, "SELECT count(*) FROM t", "[[2]]")
}
