package terminate

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/workerd/workerdtest"
)

// TestLoad holds what the pinned engine must have. An engine that fails it cannot be used with CPU limits.
func TestLoad(t *testing.T) {
	e, err := Load(workerdtest.Binary(t).Path)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range e.funcs {
		if f == 0 {
			t.Errorf("function %d has no address", i)
		}
	}
	if runtime.GOARCH == "amd64" && e.state == 0 {
		t.Error("it is not known where an isolate keeps its state")
	}
	if runtime.GOARCH == "amd64" && (e.slot >= 0 || e.isolate >= 0) {
		t.Errorf("thread-local variables at %d and %d", e.slot, e.isolate)
	}
}

func TestLoadRefuses(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte(strings.Repeat("#!/bin/sh\n", 10)), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		text:                       "bad magic number",
		filepath.Dir(text) + "/no": "no such file",
		"/bin/true":                "stripped",
	} {
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}

func TestStateField(t *testing.T) {
	// lea -0xfc20(%rbx),%rsi; movw $1,-0xfa28(%rbx)
	const lea, mov = "\x90\x48\x8d\xb3\xe0\x03\xff\xff\x90\x90", "\x90\x66\xc7\x83\xd8\x05\xff\xff\x01\x00\x90\x90"
	for _, c := range []struct {
		name, outer, inner string
		want               uint64
	}{
		{"as-expected", lea, mov, 0x1f8},
		{"another-argument", "\x48\x8d\xbb\xe0\x03\xff\xff", mov, 0},
		{"another-state", lea, "\x66\xc7\x83\xd8\x05\xff\xff\x02\x00", 0},
		{"state-before-the-isolate", lea, "\x66\xc7\x83\xd8\x03\xff\xff\x01\x00", 0},
		{"cut", lea[:6], mov[:6], 0},
		{"nothing", "", "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, ok := stateFieldAMD64([]byte(c.outer), []byte(c.inner)); ok != (c.want != 0) || ok && got != c.want {
				t.Errorf("got %#x, %v, want %#x", got, ok, c.want)
			}
		})
	}
}

func TestIDField(t *testing.T) {
	words := func(list ...uint32) (code []byte) {
		for _, w := range list {
			code = binary.LittleEndian.AppendUint32(code, w)
		}
		return append(code, make([]byte, 64)...)
	}
	for _, c := range []struct {
		name string
		find func([]byte) (uint64, bool)
		code []byte
		want uint64
		ok   bool
	}{
		{"long", idFieldAMD64, []byte("\x90\x48\x8b\x80\xc0\x00\x00\x00\x48\x3b\x03\x90\x90"), 0xc0, true},
		{"short", idFieldAMD64, []byte("\x48\x8b\x48\x40\x48\x3b\x0e\x90\x90\x90\x90\x90\x90"), 0x40, true},
		{"other-register", idFieldAMD64, []byte("\x48\x8b\x80\xc0\x00\x00\x00\x48\x3b\x0b\x90\x90\x90"), 0, false},
		{"negative", idFieldAMD64, []byte("\x48\x8b\x80\xc0\xff\xff\xff\x48\x3b\x03\x90\x90\x90"), 0, false},
		{"nothing", idFieldAMD64, make([]byte, 100), 0, false},
		{"cut", idFieldAMD64, []byte("\x48\x8b\x80\xc0\x00"), 0, false},
		// ldr x8, [x8, #0xc0]; ldr x9, [x19]; cmp x8, x9
		{"own-last", idFieldARM64, words(0xf9406108, 0xf9400269, 0xeb09011f), 0xc0, true},
		{"own-first", idFieldARM64, words(0xd503201f, 0xf9400269, 0xf9406108, 0xeb08013f), 0xc0, true},
		{"two-fields", idFieldARM64, words(0xf9406108, 0xf9406269, 0xeb09011f), 0, false},
		{"no-comparison", idFieldARM64, words(0xf9406108, 0xf9400269), 0, false},
		{"head-long", headFieldAMD64, []byte("\x90\x48\x8b\x87\x80\x00\x00\x00\x48\x85\xc0\x90\x90"), 0x80, true},
		{"head-short", headFieldAMD64, []byte("\x48\x8b\x47\x40\x48\x85\xc0\x90\x90\x90\x90"), 0x40, true},
		{"head-untested", headFieldAMD64, []byte("\x48\x8b\x87\x80\x00\x00\x00\x90\x90\x90\x90\x90\x90"), 0, false},
		// ldr x8, [x0, #0x80]; cbz x8, +8
		{"head", headFieldARM64, words(0xf9404008, 0xb4000048), 0x80, true},
		{"head-of-another", headFieldARM64, words(0xf9404028, 0xb4000048), 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, ok := c.find(c.code); ok != c.ok || ok && got != c.want {
				t.Errorf("got %#x, %v, want %#x, %v", got, ok, c.want, c.ok)
			}
		})
	}
}
