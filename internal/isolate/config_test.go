package isolate

import (
	"slices"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/workerd"
)

// What stands beside a Worker's modules, or is imported by ours, no upload may bring.
func TestOurModulesAreOurs(t *testing.T) {
	names := []string{wrapperModule, preludeModule, errorsModule, queueModule, rpcModule, serviceWorkerModule, serviceWorkerMain, serviceWorkerGlobals}
	for _, source := range []string{preludeSource, wrapperSource, rpcSource, string(serviceWorkerSource), string(errorsSource)} {
		for line := range strings.Lines(source) {
			if _, from, ok := strings.Cut(line, ` from "`); ok {
				names = append(names, strings.Split(from, `"`)[0])
			}
		}
	}
	imported := 0
	for _, name := range names {
		if strings.HasPrefix(name, "@") { // a place for one of the names above
			continue
		}
		imported++
		if atoll.CheckModuleName(name) == nil {
			t.Errorf("a Worker may bring a module %s", name)
		}
		v := &atoll.Version{MainModule: "w.js", Modules: []atoll.Module{{Name: "w.js", Type: atoll.ESModule}, {Name: "x/../" + name, Type: atoll.ESModule}}}
		_, err := loadModules(Spec{Version: v, Load: func(string) ([]byte, error) { return nil, nil }}, "", DefaultLogBytes)
		if fault.KindOf(err) != fault.Invalid {
			t.Errorf("a version with a module %s: %v", name, err)
		}
	}
	if imported < 8 {
		t.Errorf("only %d names were found", imported)
	}
}

// What only queue() needs is compiled where there is a queue(), and where nobody knows yet.
func TestQueueModule(t *testing.T) {
	for _, c := range []struct {
		name    string
		version atoll.Version
		with    bool
	}{
		{"not-validated", atoll.Version{}, true},
		{"default-export", atoll.Version{Handlers: []string{"fetch", "queue"}}, true},
		{"named-export", atoll.Version{NamedHandlers: []atoll.NamedHandlers{{Name: "Consumer", Handlers: []string{"queue"}}}}, true},
		{"none", atoll.Version{Handlers: []string{"fetch"}, NamedHandlers: []atoll.NamedHandlers{{Name: "Other"}}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.version.MainModule = "w.js"
			c.version.Modules = []atoll.Module{{Name: "w.js", Type: atoll.ESModule}}
			modules, err := loadModules(Spec{Version: &c.version, Load: func(string) ([]byte, error) { return nil, nil }}, "", DefaultLogBytes)
			if err != nil {
				t.Fatal(err)
			}
			with := slices.ContainsFunc(modules, func(m workerd.Module) bool { return m.Name == queueModule })
			imported := strings.Contains(string(modules[0].Body), queueModule)
			if with != c.with || imported != c.with {
				t.Errorf("there is a module for queues: %t, imported: %t; want %t", with, imported, c.with)
			}
		})
	}
}
