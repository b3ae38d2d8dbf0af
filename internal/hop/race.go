//go:build race

package hop

// underRace says that the race detector is to know of what is read and written, as it does of the standard library's: one
// goroutine's request may well be what another one's is about, by way of a process.
const underRace = true
