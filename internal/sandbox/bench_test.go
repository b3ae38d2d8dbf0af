package sandbox

import "testing"

// BenchmarkStart is what the sandbox adds before a program runs, its end included.
func BenchmarkStart(b *testing.B) {
	for _, insecure := range []bool{false, true} {
		b.Run(map[bool]string{false: "confined", true: "insecure"}[insecure], func(b *testing.B) {
			s, err := New(Options{Insecure: insecure})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			for b.Loop() {
				p, err := s.Start(Command{Path: "/bin/true"})
				if err != nil {
					b.Fatal(err)
				}
				<-p.Done()
			}
		})
	}
}
