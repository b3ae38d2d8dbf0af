package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a child that the bench started. It dies with the bench, even when that is killed, as long as it was started
// on the main thread (see main).
type process struct {
	cmd    *exec.Cmd
	log    string // what it wrote to stderr
	exited chan struct{}
}

// start starts cmd with its stderr in a file of the bench's directory.
func (b *bench) start(name string, cmd *exec.Cmd) (*process, error) {
	log, err := os.CreateTemp(b.dir, name+"-*.log")
	if err != nil {
		return nil, fmt.Errorf("make log: %w", err)
	}
	defer log.Close()
	cmd.Stderr = log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	if cmd.SysProcAttr.Pdeathsig == 0 {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &process{cmd: cmd, log: log.Name(), exited: make(chan struct{})}
	go func() {
		cmd.Wait() // how it ended shows in its log
		close(p.exited)
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// kill ends the process at once.
func (p *process) kill() {
	p.cmd.Process.Kill() // fails where it has ended
	<-p.exited
}

// stop asks the process to end, and insists after a while.
func (p *process) stop() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(40 * time.Second):
		p.kill()
	}
}

// said returns the end of what the process wrote to stderr.
func (p *process) said() string {
	b, _ := os.ReadFile(p.log) // none: nothing to tell
	b = bytes.TrimSpace(b)
	return string(b[max(0, len(b)-2000):])
}

// offer runs a load in a process of its own and returns its result.
func (b *bench) offer(l load) (loadResult, error) {
	if b.opts.wrk {
		return b.offerWrk(l)
	}
	var res loadResult
	in, err := marshal(l)
	if err != nil {
		return res, err
	}
	self, err := os.Executable()
	if err != nil {
		return res, fmt.Errorf("find own program: %w", err)
	}
	ctx, cancel := context.WithTimeout(b.ctx, l.Duration+time.Duration(l.AtLeast)*time.Second+maxAnswer)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, loadArg)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	cmd.Stdin = bytes.NewReader(in)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return res, fmt.Errorf("load generator: %w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	return res, unmarshal(out, &res)
}

// tree returns pid and its descendants, from /proc/*/stat (proc(5)).
func tree(pid int) []int {
	children := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		if f := stat(path); f != nil {
			children[number(f[1])] = append(children[number(f[1])], number(filepath.Base(filepath.Dir(path))))
		}
	}
	list := []int{pid}
	for i := 0; i < len(list); i++ {
		list = append(list, children[list[i]]...)
	}
	return list
}

// stat returns the fields of a stat file after the name, which may hold spaces: state, ppid, ...
func stat(path string) []string {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	_, rest, ok := strings.Cut(string(b[bytes.LastIndexByte(b, ')')+1:]), " ")
	f := strings.Fields(rest)
	if !ok || len(f) < 20 {
		return nil
	}
	return f
}

func number(s string) int {
	n, _ := strconv.Atoi(s) // what the kernel writes is a number
	return n
}

// tick is what the kernel counts processor time in: USER_HZ, 100 on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// cpuTime is the processor time of each process, with that of the children it has waited for where dead is true.
func cpuTime(pids []int, dead bool) map[int]time.Duration {
	times := map[int]time.Duration{}
	for _, pid := range pids {
		f := stat(fmt.Sprintf("/proc/%d/stat", pid))
		if f == nil {
			continue
		}
		times[pid] = tick * time.Duration(number(f[11])+number(f[12]))
		if dead {
			times[pid] += tick * time.Duration(number(f[13])+number(f[14]))
		}
	}
	return times
}

// since is the processor time that processes have used from before to now. What one has used that ended between is lost,
// so it is a lower bound where processes come and go.
func since(before, now map[int]time.Duration) (sum time.Duration) {
	for pid, t := range now {
		sum += t - before[pid]
	}
	return sum
}

// memory is what processes occupy, in bytes: the resident set, and the proportional set, which counts a shared page once.
func memory(pids []int) (rss, pss int64) {
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			continue // it has ended
		}
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if len(f) < 2 {
				continue
			}
			switch f[0] {
			case "Rss:":
				rss += int64(number(f[1])) << 10
			case "Pss:":
				pss += int64(number(f[1])) << 10
			}
		}
	}
	return rss, pss
}

// name of a process, as the kernel has it.
func name(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)) // gone: no name
	return strings.TrimSpace(string(b))
}
