package kv

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"atoll.dev/atoll/internal/fault"
)

func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	io.ReadFull(rand.NewChaCha8([32]byte{byte(seed)}), b)
	return b
}

func TestLargeValues(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, Options{})
	id := newSpace(t, s, "one")
	for i, n := range []int{chunkSize - 1, chunkSize, chunkSize + 1, 2 * chunkSize, 5*chunkSize/2 + 7, MaxValue} {
		want := noise(uint64(i), n)
		for _, length := range []int64{0, int64(n)} {
			err := s.Put(t.Context(), id, "big", bytes.NewReader(want), PutOptions{Length: length, Metadata: `1`})
			if err != nil {
				t.Fatal(n, err)
			}
			v, ok, err := s.Get(t.Context(), id, "big")
			if err != nil || !ok || v.Size != int64(n) || v.Metadata != `1` {
				t.Fatal(n, v, ok, err)
			}
			h := sha256.New()
			if m, err := v.WriteTo(h); m != int64(n) || err != nil {
				t.Error(n, m, err)
			}
			if [32]byte(h.Sum(nil)) != sha256.Sum256(want) {
				t.Errorf("%d bytes came back different", n)
			}
			v.Close()
		}
	}
	if err := s.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := rows(t, s); got != "1 entries, 25 chunks, 0 garbage, 0 dead" {
		t.Error(got)
	}
}

func TestTooLargeValue(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	id := newSpace(t, s, "one")
	for _, length := range []int64{0, MaxValue + 5} {
		err := s.Put(t.Context(), id, "big", bytes.NewReader(make([]byte, MaxValue+5)), PutOptions{Length: length})
		wantFault(t, err, fault.TooLarge, 10024, "Value length of 26214405 exceeds limit of 26214400.")
	}
	if got := get(t, s, id, "big"); got != "<none>" {
		t.Errorf("%d bytes were stored", len(got))
	}
	if err := s.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := rows(t, s); got != "0 entries, 0 chunks, 0 garbage, 0 dead" {
		t.Error(got)
	}
}

// TestReplaceWhileReading reads a value to its end though it was replaced and swept meanwhile.
func TestReplaceWhileReading(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	id := newSpace(t, s, "one")
	want := noise(1, 3*chunkSize)
	put(t, s, id, "big", string(want), PutOptions{})
	v, ok, err := s.Get(t.Context(), id, "big")
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	put(t, s, id, "big", "small", PutOptions{})
	if err := s.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := v.Bytes(); err != nil || !bytes.Equal(got, want) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	v.Close()
	v.Close()
	if err := s.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := rows(t, s); got != "1 entries, 0 chunks, 0 garbage, 0 dead" {
		t.Error(got)
	}
}

// TestBrokenPut leaves nothing of a put whose body broke off, neither at once nor after a crash in the middle.
func TestBrokenPut(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, Options{})
	id := newSpace(t, s, "one")
	put(t, s, id, "big", "old", PutOptions{})
	broken := errors.New("the client is gone")
	body := func() io.Reader {
		return io.MultiReader(bytes.NewReader(make([]byte, 3*chunkSize)), iotest.ErrReader(broken))
	}
	if err := s.Put(t.Context(), id, "big", body(), PutOptions{}); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	broken = io.ErrUnexpectedEOF // what net/http says of a body that breaks off
	if err := s.Put(t.Context(), id, "big", body(), PutOptions{}); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if got := get(t, s, id, "big"); got != "old" {
		t.Errorf("old value is now %.20q", got)
	}
	if got := rows(t, s); got != "1 entries, 6 chunks, 2 garbage, 0 dead" {
		t.Error(got)
	}
	s.Close()
	s = openStore(t, dir, Options{})
	if err := s.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := rows(t, s); got != "1 entries, 0 chunks, 0 garbage, 0 dead" {
		t.Error(got)
	}
}

// TestSweepDuringPut sweeps while a value is staged but not yet named by its entry.
func TestSweepDuringPut(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	id := newSpace(t, s, "one")
	want := noise(1, 3*chunkSize)
	swept := false
	body := io.MultiReader(bytes.NewReader(want), readerFunc(func([]byte) (int, error) {
		swept = true
		return 0, errors.Join(s.sweep(t.Context()), io.EOF)
	}))
	if err := s.Put(t.Context(), id, "big", body, PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := get(t, s, id, "big"); !swept || got != string(want) {
		t.Errorf("swept %v, read %d bytes", swept, len(got))
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
