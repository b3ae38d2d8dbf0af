package main

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// minCores is how many processors a machine must have for the load generator to get one of its own: with fewer, what is
// measured would be another machine.
const minCores = 4

// pin keeps the calling thread, and what it starts, on the last processor or off it. It does nothing where there are too few.
func pin(last bool) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil || set.Count() < minCores {
		return
	}
	highest := 0
	for i := range len(set) * 64 {
		if set.IsSet(i) {
			highest = i
		}
	}
	if last {
		set.Zero()
		set.Set(highest)
	} else {
		set.Clear(highest)
	}
	_ = unix.SchedSetaffinity(0, &set) // where it is refused, the generator shares
}

// generatorPlace tells where the load generator runs.
func generatorPlace() string {
	if runtime.NumCPU() < minCores {
		return "on the same cores"
	}
	return "on a core of its own"
}
