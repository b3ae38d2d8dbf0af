package atoll

import (
	"reflect"
	"strings"
	"testing"
)

// Every field has a name to set it by, and its default is a value that could be set.
func TestEveryLimitCanBeSet(t *testing.T) {
	all := AllNodeLimits()
	typ := reflect.TypeFor[NodeLimits]()
	if len(all) != typ.NumField() {
		t.Errorf("%d limits have a name, there are %d", len(all), typ.NumField())
	}
	for i, n := range all {
		var l NodeLimits
		*n.field(&l) = 7
		if got := reflect.ValueOf(l).Field(i).Int(); got != 7 {
			t.Errorf("%s is not the name of %s", n.Name, typ.Field(i).Name)
		}
		if n.Soon {
			if err := l.Set(n.Name, "1GB"); err == nil || strings.Contains(strings.TrimPrefix(err.Error(), "there is no limit \""+n.Name), n.Name) {
				t.Errorf("%s is not there yet: %v", n.Name, err)
			}
			continue
		}
		value := n.Value(DefaultLimits())
		if value == "none" && n.Name == "processes" {
			continue // as many as there are cores
		}
		back := DefaultLimits()
		if err := back.Set(n.Name, value); err != nil || back != DefaultLimits() {
			t.Errorf("%s=%s, the default: %v", n.Name, value, err)
		}
	}
}

func TestSetLimit(t *testing.T) {
	for pair, want := range map[string]int64{
		"cpu-ms=1": 1, "cpu-ms=300000": 300_000, "memory-mb=64": 64,
		"request-body=1": 1, "request-body=5kb": 5 << 10, "request-body=2MB": 2 << 20, "request-body=1GB": 1 << 30,
		"response-body=none": 0, "kv-storage=10GB": 10 << 30,
	} {
		name, value, _ := strings.Cut(pair, "=")
		l := DefaultLimits()
		if err := l.Set(name, value); err != nil {
			t.Errorf("%s: %v", pair, err)
		}
		for _, n := range AllNodeLimits() {
			if got := *n.field(&l); n.Name == name && got != want {
				t.Errorf("%s sets %d", pair, got)
			}
		}
	}
	for pair, want := range map[string]string{
		"cpu-ms=0":             "cpu-ms=0: it must be a whole number from 1 to 300000",
		"cpu-ms=300001":        "cpu-ms=300001: it must be a whole number from 1 to 300000",
		"cpu-ms=1KB":           "cpu-ms=1KB: it must be a whole number from 1 to 300000",
		"cpu-ms=":              "cpu-ms=: it must be a whole number from 1 to 300000",
		"cpu-ms=none":          "cpu-ms=none: it must be a whole number from 1 to 300000",
		"memory-mb=8":          "memory-mb=8: it must be a whole number from 16 to 2048",
		"url-bytes=1GB":        "url-bytes=1GB: it must be a number of bytes, KB, MB or GB from 256 to 128KB",
		"request-body=-1":      "request-body=-1: it must be a number of bytes, KB, MB or GB from 1 to 1024GB",
		"request-body=GB":      "request-body=GB: it must be a number of bytes, KB, MB or GB from 1 to 1024GB",
		"response-body=0":      "response-body=0: it must be a number of bytes, KB, MB or GB from 1 to 1024GB, or none",
		"kv-storage=9999999GB": "kv-storage=9999999GB: it must be a number of bytes, KB, MB or GB from 1 to 1048576GB, or none",
		"cpu=1":                `there is no limit "cpu"; the limits are cpu-ms, startup-cpu-ms, `,
	} {
		name, value, _ := strings.Cut(pair, "=")
		l := DefaultLimits()
		if err := l.Set(name, value); err == nil || !strings.HasPrefix(err.Error(), want) || l != DefaultLimits() {
			t.Errorf("%s: %v", pair, err)
		}
	}
}

func FuzzSetLimit(f *testing.F) {
	f.Add("request-body", "5KB")
	f.Fuzz(func(t *testing.T, name, value string) {
		l := DefaultLimits()
		if l.Set(name, value) != nil {
			return
		}
		for _, n := range AllNodeLimits() {
			if v := *n.field(&l); n.Name == name && (v < n.Min || v > n.Max) && !(n.None && v == 0) {
				t.Errorf("%s=%s sets %d", name, value, v)
			}
		}
	})
}
