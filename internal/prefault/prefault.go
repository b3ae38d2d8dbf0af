// Package prefault has a process find in memory what it is about to need of its program.
//
// A program's file is mapped when it is executed, but each part of it enters the process's page tables only when it is first
// touched, by a fault: a starting workerd spends a sixth of its time on those. [Learn] sees which parts a process that has
// done some work has touched; [Pages.Map] has the kernel enter the same parts for another process of the same program, from
// outside, while that one still waits for its work.
//
// The package changes no byte of any process, only what its page tables hold, and reads none of its data but one byte a part,
// which it throws away. Whoever may not read a process's memory (ptrace(2), "Ptrace access mode checking") gets an error.
//
// # Concurrency
//
// Pages do not change once learned; everything may be called concurrently.
package prefault

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// window is what one fault enters, at most: fault_around_bytes of the kernel, whose default this is.
const window = 64 << 10

// maxPages bounds how many pages of one mapping are looked at.
const maxPages = 1 << 18

// file is one mapping of a file: the same of all processes of a program, wherever each has it.
type file struct {
	device, inode, offset, access string
}

// mapping is where a process has it.
type mapping struct {
	file
	from, to uintptr
}

// Pages are the parts of files that a process had touched.
type Pages struct {
	touched map[file][]uintptr // distances from the mapping's beginning, ascending
}

// Learn returns what a process has touched by now.
func Learn(pid int) (*Pages, error) {
	list, err := mappings(pid)
	if err != nil {
		return nil, err
	}
	table, err := os.Open(fmt.Sprintf("/proc/%d/pagemap", pid))
	if err != nil {
		return nil, fmt.Errorf("open page map: %w", err)
	}
	defer table.Close()
	p := &Pages{touched: map[file][]uintptr{}}
	for _, m := range list {
		touched, err := present(table, m)
		if err != nil {
			return nil, err
		}
		if len(touched) > 0 {
			p.touched[m.file] = touched
		}
	}
	if len(p.touched) == 0 {
		return nil, fmt.Errorf("process %d has touched no file", pid)
	}
	return p, nil
}

// present returns the pages of a mapping that the process's page tables hold: proc_pid_pagemap(5).
func present(table io.ReaderAt, m mapping) ([]uintptr, error) {
	const entry, held = 8, 1 << 63
	page := uintptr(os.Getpagesize())
	entries := make([]byte, entry*min((m.to-m.from)/page, maxPages))
	if _, err := table.ReadAt(entries, int64(m.from/page)*entry); err != nil {
		return nil, fmt.Errorf("read page map: %w", err)
	}
	var touched []uintptr
	for at := uintptr(0); len(entries) > 0; at, entries = at+page, entries[entry:] {
		if binary.NativeEndian.Uint64(entries)&held != 0 {
			touched = append(touched, at)
		}
	}
	return touched, nil
}

// Map enters the pages into the page tables of another process of the same program. It returns how many faults that
// spares it.
func (p *Pages) Map(pid int) (int, error) {
	list, err := mappings(pid)
	if err != nil {
		return 0, err
	}
	var addrs []unix.RemoteIovec
	for _, m := range list {
		addrs = append(addrs, p.wanted(m)...)
	}
	const most = 1024 // IOV_MAX
	var sink [most]byte
	for todo := addrs; len(todo) > 0; todo = todo[min(most, len(todo)):] {
		some := todo[:min(most, len(todo))]
		local := []unix.Iovec{{Base: &sink[0]}}
		local[0].SetLen(len(some))
		if _, err := unix.ProcessVMReadv(pid, local, some, 0); err != nil {
			return 0, fmt.Errorf("read memory of process %d: %w", pid, err)
		}
	}
	return len(addrs), nil
}

// wanted returns one address in each window of the mapping that was touched. Where a window begins depends on where the
// mapping is, which is another place in each process.
func (p *Pages) wanted(m mapping) (addrs []unix.RemoteIovec) {
	last := uintptr(0)
	for _, at := range p.touched[m.file] {
		addr := m.from + at
		if addr >= m.to {
			break
		}
		if w := addr &^ (window - 1); len(addrs) == 0 || w != last {
			addrs, last = append(addrs, unix.RemoteIovec{Base: addr, Len: 1}), w
		}
	}
	return addrs
}

// mappings returns the readable mappings of files that a process has: proc_pid_maps(5).
func mappings(pid int) ([]mapping, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return nil, fmt.Errorf("open mappings: %w", err)
	}
	defer f.Close()
	return parseMappings(f)
}

func parseMappings(r io.Reader) (list []mapping, err error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 5 {
			return nil, fmt.Errorf("mapping %q has %d fields", lines.Text(), len(fields))
		}
		m := mapping{file: file{access: fields[1], offset: fields[2], device: fields[3], inode: fields[4]}}
		if _, err := fmt.Sscanf(fields[0], "%x-%x", &m.from, &m.to); err != nil || m.to < m.from {
			return nil, fmt.Errorf("mapping %q is nowhere", lines.Text())
		}
		if m.inode != "0" && strings.HasPrefix(m.access, "r") {
			list = append(list, m)
		}
	}
	return list, lines.Err()
}

// Waiting tells whether a process's main thread is in read(2), as one is that waits for its work: "/proc/PID/syscall" of
// proc(5).
func Waiting(pid int) (bool, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", pid))
	return bytes.HasPrefix(b, fmt.Appendf(nil, "%d ", unix.SYS_READ)), err
}
