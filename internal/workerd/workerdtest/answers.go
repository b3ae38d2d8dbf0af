package workerdtest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Answers collects what requests in the background are answered.
type Answers struct {
	wg sync.WaitGroup
	mu sync.Mutex
	n  map[string]int
}

// Background asks so often at once. ask returns the status and the body of an answer.
func Background(times int, ask func() (status int, body string)) *Answers {
	a := &Answers{n: map[string]int{}}
	for range times {
		a.wg.Go(func() {
			status, body := ask()
			a.mu.Lock()
			defer a.mu.Unlock()
			a.n[fmt.Sprintf("%d %s", status, body)]++
		})
	}
	return a
}

// Wait returns how often each answer came, when all have: "200 hello" and the like.
func (a *Answers) Wait() map[string]int {
	a.wg.Wait()
	return a.n
}

// String is that in one line, sorted.
func (a *Answers) String() string {
	var parts []string
	for k, n := range a.Wait() {
		parts = append(parts, fmt.Sprintf("%dx %q", n, k))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}
