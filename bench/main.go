// Command bench measures Atoll beside bare workerd, miniflare and nginx, in the same minutes on the same machine.
//
// It is a program and not a set of Go benchmarks: what it measures are whole processes, which it builds, starts on free
// loopback ports with their state in a temporary directory, and ends. Each scenario runs in turns with its baseline (A B
// A B ...), and what counts are the ratios: the figures themselves are of one machine in one hour. Loads come from a
// process of their own, a second instance of this program.
//
// Its invariant: it ends what it started and nothing else, and every wait is bounded. Scenarios run one after the other;
// within one, only what is said to be concurrent is.
//
//	go run ./bench -h
//	go run ./bench -scenario chain -connections 8 -pairs 3 -duration 2s
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"atoll.dev/atoll/internal/workerd"
)

// loadArg makes this program the load generator.
const loadArg = "load-generator"

// scenario is one thing to measure.
type scenario struct {
	name     string
	what     string
	standard bool // part of a run that names none
	run      func(*bench) error
}

var scenarios = []scenario{
	{"chain", "requests/s, p50, p99: bare workerd, the bare two-process chain, miniflare's, Atoll's", true, (*bench).chain},
	{"router", "built-in routers by subdomain and KV beside a dispatch Worker", true, (*bench).router},
	{"plans", "the chain with a KV lookup of the customer's plan, beside miniflare's", true, (*bench).plans},
	{"subrequest", "the same with one subrequest, without and with an outbound Worker", true, (*bench).subrequest},
	{"stream", "bodies of 100 MB through the bare two-process chain and Atoll's", true, (*bench).stream},
	{"sockets", "2,000 idle WebSockets, likewise", true, (*bench).sockets},
	{"cold", "first request of a never-run script beside spawning bare workerd", true, (*bench).cold},
	{"live", "deploy until the edge answers with it, beside spawning bare workerd", true, (*bench).live},
	{"density", "memory of 500 warm scripts (-warm N for others) beside bare workerd's, and a request's cost beside them", true, (*bench).density},
	{"customers200", "200 customers: all answering, start-up times, memory", false, (*bench).customers},
	{"scripts100k", "a namespace with 100,000 scripts beside one with 10 (-scripts N for fewer)", false, (*bench).scripts},
	{"limits", "CPU limits: how exact, and what they cost", true, (*bench).limits},
	{"hog", "what a tenant feels of another at its CPU limit", true, (*bench).hog},
	{"assets", "static files beside nginx: small HTML, a 100 KB script, a 10 MB file", true, (*bench).assets},
	{"bindings", "a Worker's bindings beside the same under miniflare (-rows for some of them)", true, (*bench).bindings},
	{"redeploy", "30 s of load with a deploy a second: lost and mixed answers", false, (*bench).redeploy},
}

type options struct {
	scenarios   string
	duration    time.Duration
	pairs       int
	connections []int
	scripts     int
	warm        int
	quick       bool
	report      bool
	rows        string
	workerd     string
	atoll       string
	bare        bool
	wrk         bool
	json        bool
	keep        bool
}

// bench is one run.
type bench struct {
	ctx     context.Context
	opts    options
	root    string // of the module
	dir     string // temporary
	workerd workerd.Binary
	atoll   string // the program
	tables  []*table
}

func main() {
	// Children are told to die with the thread that started them: all are started here, on the main thread.
	runtime.LockOSThread()
	isLoad := len(os.Args) == 2 && os.Args[1] == loadArg
	pin(isLoad)
	if isLoad {
		if err := loadMain(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parseFlags(args []string) (o options, err error) {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	connections := "1,8,64"
	f.StringVar(&o.scenarios, "scenario", "", "comma-separated `names`; default: those marked *")
	f.DurationVar(&o.duration, "duration", 3*time.Second, "of one measurement under load")
	f.IntVar(&o.pairs, "pairs", 5, "how many times each subject has its turn; cold and live: four times as often")
	f.StringVar(&connections, "connections", connections, "comma-separated `numbers` of the loads' connections")
	f.IntVar(&o.scripts, "scripts", 100_000, "scripts of scripts100k")
	f.IntVar(&o.warm, "warm", 500, "warm scripts of density")
	f.BoolVar(&o.quick, "quick", false, "two turns of one second at 8 connections, 50 warm scripts: to try the scenarios, not to measure")
	f.BoolVar(&o.report, "report", false, "write docs/performance.md and its chart, and bench/results.json")
	f.StringVar(&o.rows, "rows", "", "comma-separated `names` of the rows of bindings; default: all")
	f.StringVar(&o.workerd, "workerd", "", "`path` of workerd; default: the one that npm installed in engine")
	f.StringVar(&o.atoll, "atoll", "", "`path` of atoll; default: built from this tree")
	f.BoolVar(&o.bare, "bare", false, "measure the baselines alone")
	f.BoolVar(&o.wrk, "wrk", false, "offer the loads with wrk instead of our own generator")
	f.BoolVar(&o.json, "json", false, "write bench/results.json too")
	f.BoolVar(&o.keep, "keep", false, "leave the temporary directory with the logs")
	f.Usage = func() {
		fmt.Fprintf(f.Output(), "Measures Atoll beside bare workerd, miniflare and nginx.\n\nScenarios:\n")
		for _, s := range scenarios {
			mark := " "
			if s.standard {
				mark = "*"
			}
			fmt.Fprintf(f.Output(), "  %s %-13s %s\n", mark, s.name, s.what)
		}
		fmt.Fprintf(f.Output(), "\nFlags:\n")
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if o.quick {
		o.pairs, o.duration, connections, o.warm = 2, time.Second, "8", 50
	}
	for n := range strings.SplitSeq(connections, ",") {
		k, err := strconv.Atoi(n)
		if err != nil || k < 1 {
			return o, fmt.Errorf("-connections %s: numbers, please", connections)
		}
		o.connections = append(o.connections, k)
	}
	if o.pairs < 1 || o.duration < time.Second || o.scripts < 10 || o.warm < 11 || f.NArg() > 0 {
		return o, errors.New("at least one pair, one second, ten scripts and eleven warm ones, and no arguments; -h shows the flags")
	}
	return o, nil
}

// listed tells whether a comma-separated list has a name.
func listed(list, name string) bool { return slices.Contains(strings.Split(list, ","), name) }

// choose returns the scenarios that are to run.
func (o options) choose() ([]scenario, error) {
	var list []scenario
	if o.scenarios == "" {
		for _, s := range scenarios {
			if s.standard {
				list = append(list, s)
			}
		}
		return list, nil
	}
	for name := range strings.SplitSeq(o.scenarios, ",") {
		i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no scenario %q; -h lists them", name)
		}
		list = append(list, scenarios[i])
	}
	return list, nil
}

func run(ctx context.Context) error {
	opts, err := parseFlags(os.Args[1:])
	if err != nil {
		return err
	}
	chosen, err := opts.choose()
	if err != nil {
		return err
	}
	b := &bench{ctx: ctx, opts: opts}
	if b.root, err = moduleRoot(); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "atoll-bench-"); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	if opts.keep {
		b.say("logs are in %s", b.dir)
	} else {
		defer os.RemoveAll(b.dir)
	}
	if b.workerd, err = b.findWorkerd(); err != nil {
		return err
	}
	if err := b.buildAtoll(); err != nil {
		return err
	}
	m := b.describeMachine()
	fmt.Println(m)
	for _, s := range chosen {
		b.say("%s: %s", s.name, s.what)
		if err := s.run(b); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	fmt.Println("\nRatios are medians over the pairs, with the least and the greatest; the figures are of this machine and hour only.")
	if opts.json || opts.report {
		if err := b.writeJSON(m); err != nil {
			return err
		}
	}
	if opts.report {
		return b.writeReport(m)
	}
	return nil
}

// say reports progress.
func (b *bench) say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// publish prints a finished table and keeps it for results.json.
func (b *bench) publish(t *table) {
	t.write(os.Stdout)
	b.tables = append(b.tables, t)
}

func (b *bench) writeJSON(m machine) error {
	out, err := marshal(struct {
		Machine machine  `json:"machine"`
		Tables  []*table `json:"tables"`
	}{m, b.tables})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(b.root, "bench/results.json"), append(out, '\n'), 0o644); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	return nil
}

// moduleRoot is the directory of the go.mod above the working directory.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find module: %w", err)
	}
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "engine/package.json")); err == nil {
			return d, nil
		}
		if d == filepath.Dir(d) {
			return "", fmt.Errorf("%s is not in Atoll's source tree", dir)
		}
	}
}

func (b *bench) findWorkerd() (workerd.Binary, error) {
	path := b.opts.workerd
	if path == "" {
		found, _ := filepath.Glob(filepath.Join(b.root, "engine/node_modules/@cloudflare/workerd-*/bin/workerd")) // the pattern is right
		if len(found) == 0 {
			return workerd.Binary{}, errors.New("workerd is not installed: run make build, or name one with -workerd PATH")
		}
		path = found[0]
	}
	return workerd.Find(path)
}
