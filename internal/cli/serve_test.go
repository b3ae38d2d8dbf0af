package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"atoll.dev/atoll/internal/atoll"
)

// served runs `atoll serve` and returns what it was to serve.
func served(t *testing.T, env map[string]string, args ...string) ServeConfig {
	t.Helper()
	var got ServeConfig
	app := App{Serve: func(_ context.Context, cfg ServeConfig) error {
		if cfg.Log == nil || cfg.Stdout == nil {
			t.Errorf("no log or no stdout: %+v", cfg)
		}
		cfg.Log, cfg.Stdout = nil, nil
		got = cfg
		return nil
	}}
	run(app, "", env, append([]string{"serve"}, args...)...).prints(t, "")
	return got
}

func TestServeHasDefaults(t *testing.T) {
	want := ServeConfig{Data: "./atoll-data", Edge: "127.0.0.1:8080", API: "127.0.0.1:8081", Zone: "atoll.localhost", Limits: atoll.DefaultLimits()}
	if diff := cmp.Diff(want, served(t, nil)); diff != "" {
		t.Error(diff)
	}
}

func TestServeReadsItsEnvironmentBehindItsFlags(t *testing.T) {
	env := map[string]string{"ATOLL_DATA": "/d", "ATOLL_EDGE": "e", "ATOLL_API": "a", "ATOLL_API_TOKEN": "t", "ATOLL_ACCOUNT_ID": "i",
		"ATOLL_ZONE": "z", "ATOLL_WORKERD": "w", "ATOLL_INSECURE_SANDBOX": "true", "ATOLL_SECRET_KEY": "k",
		"ATOLL_EGRESS_ALLOW": "10.0.0.0/8,::1/128", "ATOLL_EGRESS_DENY": "9.9.9.9", "ATOLL_EGRESS_CA": "ca.pem", "ATOLL_API_ALIAS": "overridden.example"}
	want := ServeConfig{Data: "/d", Edge: "flag", API: "a", APIToken: "t", AccountID: "i", Zone: "z", Workerd: "w",
		InsecureSandbox: true, SecretKey: "k", Limits: atoll.DefaultLimits(),
		EgressAllow: []string{"10.0.0.0/8", "::1/128"}, EgressDeny: []string{"9.9.9.9"}, EgressCA: "ca.pem", APIAlias: []string{"a.example", "b.example"}}
	if diff := cmp.Diff(want, served(t, env, "--edge", "flag", "--api-alias", "a.example", "--api-alias", "b.example")); diff != "" {
		t.Error(diff)
	}
}

func TestServeRefusesAnEnvironmentItCannotRead(t *testing.T) {
	s := run(App{}, "", map[string]string{"ATOLL_INSECURE_SANDBOX": "maybe"}, "serve")
	if s.code != exitUsage || !strings.HasPrefix(s.err, `atoll: error: ATOLL_INSECURE_SANDBOX="maybe": `) {
		t.Errorf("%+v", s)
	}
}

func TestServeLogsAsItIsTold(t *testing.T) {
	app := App{Serve: func(_ context.Context, cfg ServeConfig) error {
		cfg.Log.Debug("fine")
		cfg.Log.Info("coarse")
		return nil
	}}
	if s := run(app, "", nil, "serve", "--log-level", "debug", "--log-format", "json"); strings.Count(s.err, "{") != 2 || !strings.Contains(s.err, `"msg":"fine"`) {
		t.Errorf("%q", s.err)
	}
	if s := run(app, "", map[string]string{"ATOLL_LOG_LEVEL": "warn"}, "serve"); s.err != "" {
		t.Errorf("%q", s.err)
	}
	run(app, "", nil, "serve", "--log-level", "loud").fails(t, exitUsage, "atoll: error: --log-level loud: it is debug, info, warn or error\natoll: hint: 'atoll serve --help' shows how to use it\n")
	run(app, "", nil, "serve", "--log-format", "xml").fails(t, exitUsage, "atoll: error: --log-format xml: it is text or json\natoll: hint: 'atoll serve --help' shows how to use it\n")
}

func TestServeFailsWithAdvice(t *testing.T) {
	_, badAddress := net.Listen("tcp", "nowhere")
	for _, c := range []struct {
		err  error
		want string
	}{
		{errors.New("it is late"), "atoll: error: it is late\n"},
		{fmt.Errorf("listen: %w", syscall.EADDRINUSE), "atoll: error: listen: address already in use\n" +
			"atoll: hint: another program listens there, perhaps another node: choose addresses with --edge and --api\n"},
		{fmt.Errorf("lock: %w", syscall.EWOULDBLOCK), "atoll: error: lock: resource temporarily unavailable\n" +
			"atoll: hint: stop the node that uses this directory, or choose another with --data\n"},
		{badAddress, "atoll: error: listen tcp: address nowhere: missing port in address\n" +
			"atoll: hint: an address is HOST:PORT, such as 127.0.0.1:8080, or :8080 for every interface\n"},
	} {
		app := App{Serve: func(context.Context, ServeConfig) error { return c.err }}
		run(app, "", nil, "serve").fails(t, exitFailed, c.want)
	}
}

func TestDoctor(t *testing.T) {
	app := App{Doctor: func(_ context.Context, cfg DoctorConfig) []Check {
		return []Check{
			{Name: "workerd", OK: cfg.Workerd == "/w", Required: true, Detail: "1.2", Fix: "run make build"},
			{Name: "user namespaces", Required: true, Detail: "denied", Fix: "sysctl kernel.unprivileged_userns_clone=1"},
			{Name: "cgroup v2", Detail: "not delegated", Fix: "start it with systemd-run --user"},
		}
	}}
	s := run(app, "", nil, "doctor", "--workerd", "/w")
	want := `CHECK            STATE    DETAIL
workerd          ok       1.2
user namespaces  MISSING  denied
                 fix      sysctl kernel.unprivileged_userns_clone=1
cgroup v2        missing  not delegated
                 fix      start it with systemd-run --user
`
	if diff := cmp.Diff(want, s.out); diff != "" {
		t.Error(diff)
	}
	if s.code != exitFailed || s.err != "atoll: error: 1 of 3 checks that a node needs failed\natoll: hint: the lines marked 'fix' say what to do\n" {
		t.Errorf("%+v", s)
	}
	app.Doctor = func(context.Context, DoctorConfig) []Check {
		return []Check{{Name: "workerd", OK: true, Required: true}}
	}
	run(app, "", nil, "doctor", "--json").prints(t, `[
  {
    "name": "workerd",
    "ok": true,
    "required": true
  }
]
`)
}

func TestVersion(t *testing.T) {
	if s := run(App{Version: "v1.2"}, "", nil, "version"); s.code != exitOK || !strings.HasPrefix(s.out, "atoll v1.2 (go") {
		t.Errorf("%+v", s)
	}
}
