package objects

import (
	"context"
	"database/sql"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"atoll.dev/atoll/internal/atoll"
)

// withAlarm makes a class whose next alarm is due at a time.
func withAlarm(t *testing.T, s *Store, at time.Time) (class string) {
	t.Helper()
	class = atoll.NewID()
	if err := os.Mkdir(s.dir(class), 0o700); err != nil {
		t.Fatal(err)
	}
	setAlarm(t, s, class, at)
	return class
}

func setAlarm(t *testing.T, s *Store, class string, at time.Time) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(s.dir(class), alarmsFile))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("CREATE TABLE IF NOT EXISTS _cf_ALARM (scheduled_time INTEGER); DELETE FROM _cf_ALARM"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("INSERT INTO _cf_ALARM VALUES (?)", at.UnixNano()); err != nil {
		t.Fatal(err)
	}
}

// A script whose alarms take long to read has those of others wait for nothing.
func TestClockReadsBesideLargeFiles(t *testing.T) {
	s := open(t)
	due := time.Now().Add(-time.Second)
	evil := []string{withAlarm(t, s, due), withAlarm(t, s, due)}
	for _, class := range evil {
		if err := os.Truncate(filepath.Join(s.dir(class), alarmsFile), largeAlarms); err != nil {
			t.Fatal(err)
		}
	}
	good := []string{withAlarm(t, s, due), withAlarm(t, s, due)}
	s.largeReads <- struct{}{} // a large file is being read
	woken := make(chan string, 10)
	c := NewClock(slog.New(slog.DiscardHandler), s, func(_ context.Context, class string) error {
		woken <- class
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- c.Run(ctx) }()
	await := func(classes ...string) {
		t.Helper()
		left := map[string]bool{}
		for _, class := range classes {
			left[class] = true
		}
		for len(left) > 0 {
			select {
			case class := <-woken:
				if !left[class] {
					t.Fatal("a class is woken out of turn")
				}
				delete(left, class)
			case <-time.After(20 * time.Second):
				t.Fatalf("waited in vain for %d classes", len(left))
			}
		}
	}
	await(good...)
	setAlarm(t, s, good[0], due)
	c.Ended(good[0], evil[0])
	await(good[0])
	<-s.largeReads
	await(evil...)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// What does not change is read once, and what does is not missed.
func TestNextAlarmIsRemembered(t *testing.T) {
	s := open(t)
	first := time.Now().Add(time.Hour).Truncate(time.Microsecond)
	class := withAlarm(t, s, first)
	file := filepath.Join(s.dir(class), alarmsFile)
	next := func(want time.Time) {
		t.Helper()
		if at, ok, err := s.NextAlarm(t.Context(), class); err != nil || !ok || !at.Equal(want) {
			t.Errorf("the next alarm is at %v, %v, %v, want %v", at, ok, err, want)
		}
	}
	next(first) // it has just been changed: it may change again without a trace
	if len(s.alarms) != 0 {
		t.Error("a file that has just been changed is taken as known")
	}
	long := time.Now().Add(-time.Minute)
	if err := os.Chtimes(file, long, long); err != nil {
		t.Fatal(err)
	}
	next(first)
	for range smallReads { // nothing can be read
		s.smallReads <- struct{}{}
	}
	next(first)
	for range smallReads {
		<-s.smallReads
	}
	setAlarm(t, s, class, first.Add(time.Hour))
	next(first.Add(time.Hour))
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := s.NextAlarm(t.Context(), class); ok || err != nil || len(s.alarms) != 0 {
		t.Errorf("without a file: %v, %v, %d remembered", ok, err, len(s.alarms))
	}
}
