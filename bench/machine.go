package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// machine is what the figures were measured on; without it they mean nothing.
type machine struct {
	Date     string `json:"date"`
	CPU      string `json:"cpu"`
	Cores    int    `json:"cores"`
	MemoryGB int    `json:"memory_gb"`
	Kernel   string `json:"kernel"`
	Go       string `json:"go"`
	Workerd  string `json:"workerd"`
	V8Flags  string `json:"v8_flags"`
	Atoll    string `json:"atoll"`
	Load     string `json:"load"` // the generator
}

func (b *bench) describeMachine() machine {
	m := machine{
		Date: time.Now().UTC().Format(time.RFC3339), CPU: "unknown", Cores: runtime.NumCPU(), Go: runtime.Version(),
		Workerd: b.workerd.Version, V8Flags: strings.Join(v8Flags, " "), Atoll: "unknown",
		Load: "one thread " + generatorPlace(),
	}
	if b.opts.wrk {
		m.Load = "wrk " + generatorPlace()
	}
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
			m.CPU = strings.TrimSpace(v)
			break
		}
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	var si unix.Sysinfo_t
	if unix.Sysinfo(&si) == nil {
		m.MemoryGB = int(uint64(si.Totalram) * uint64(si.Unit) >> 30)
	}
	ctx, cancel := context.WithTimeout(b.ctx, 10*time.Second)
	defer cancel()
	git := exec.CommandContext(ctx, "git", "describe", "--tags", "--always", "--dirty")
	git.Dir = b.root
	if out, err := git.Output(); err == nil {
		m.Atoll = strings.TrimSpace(string(out))
	}
	return m
}

func (m machine) String() string {
	return fmt.Sprintf("%s\n  %s, %d cores, %d GB, Linux %s\n  workerd %s %s, atoll %s, %s; load: %s",
		m.Date, m.CPU, m.Cores, m.MemoryGB, m.Kernel, m.Workerd, m.V8Flags, m.Atoll, m.Go, m.Load)
}

// noise tells how much of the machine others used while something was measured.
type noise struct {
	began time.Time
	busy  time.Duration // of all processors
	own   map[int]time.Duration
}

func (b *bench) listen() noise {
	return noise{time.Now(), busyTime(), cpuTime(tree(os.Getpid()), true)}
}

// heard describes the noise since n.
func (n noise) heard() string {
	now := noise{time.Now(), busyTime(), cpuTime(tree(os.Getpid()), true)}
	others := (now.busy - n.busy) - since(n.own, now.own)
	all := now.began.Sub(n.began) * time.Duration(runtime.NumCPU())
	return fmt.Sprintf("other programs used %.0f%% of the machine meanwhile", max(0, 100*others.Seconds()/all.Seconds()))
}

// busyTime is the time that all processors have worked, stolen time included, from /proc/stat.
func busyTime() (sum time.Duration) {
	b, _ := os.ReadFile("/proc/stat") // without it there is no noise to tell
	line, _, _ := strings.Cut(string(b), "\n")
	for i, f := range strings.Fields(line) {
		if i == 1 || i == 2 || i == 3 || i == 6 || i == 7 || i == 8 { // user, nice, system, irq, softirq, steal
			sum += tick * time.Duration(number(f))
		}
	}
	return sum
}

func marshal(v any) ([]byte, error) {
	out, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("marshal: %w", err)
	}
	return out, nil
}

func unmarshal(b []byte, v any) error {
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("unmarshal %.100q: %w", b, err)
	}
	return nil
}
