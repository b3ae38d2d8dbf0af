package terminate

import (
	"testing"
	"time"
)

func TestLoad(t *testing.T) {
	start := time.Now()
	r := newRig(t, rigOptions{})
	t.Logf("%+v in %v", r.engine, time.Since(start))
	cur, err := r.target.Current()
	n, err2 := r.target.Started()
	t.Log(cur, err, n, err2)
	t.Logf("slot %x", r.target.slot())
}

func TestTerminate(t *testing.T) {
	r := newRig(t, rigOptions{})
	for _, path := range []string{"/loop", "/microtasks", "/regex", "/finally", "/wasm", "/sort", "/getter", "/proxy", "/promises", "/timer"} {
		t.Run(path[1:], func(t *testing.T) {
			r := *r
			r.TB = t
			a := r.background(1, path)
			c := r.busy()
			start := time.Now()
			o := r.terminate(c)
			took := time.Since(start)
			t.Logf("%v in %v: %s", o, took, a)
			r.want("/", 200, "hello")
		})
	}
}
