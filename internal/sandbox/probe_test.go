package sandbox

import (
	"os"
	"strings"
	"testing"
)

func TestProbe(t *testing.T) {
	layers := newSandbox(t, Options{}).Probe()
	if err := Baseline(layers); err != nil {
		t.Error(err)
	}
	if len(layers) != len(layerNames) {
		t.Errorf("%d layers, want %d", len(layers), len(layerNames))
	}
	for i, l := range layers {
		if l.Name != layerNames[i].name || l.Baseline != layerNames[i].baseline {
			t.Errorf("layer %d is %+v, want %+v", i, l, layerNames[i])
		}
		if !l.Held && l.Fix == "" {
			t.Errorf("%s is not held, and no fix is named", l.Name)
		}
		t.Logf("%+v", l)
	}
	if l := layers[len(layers)-3]; os.Geteuid() == 0 && !l.Held {
		t.Errorf("as root: %+v", l)
	}
}

func TestProbeInsecure(t *testing.T) {
	err := Baseline(newSandbox(t, Options{Insecure: true}).Probe())
	if err == nil || !strings.Contains(err.Error(), "seccomp") {
		t.Errorf("got %v", err)
	}
}

// TestProbeDiagnoses asks what a node would say where the whole could not be had.
func TestProbeDiagnoses(t *testing.T) {
	s := newSandbox(t, Options{})
	layers := s.diagnose(os.ErrPermission)
	if err := Baseline(layers); err == nil || strings.Contains(err.Error(), "namespace") {
		t.Errorf("got %v: the namespaces can be had", err)
	}
}
