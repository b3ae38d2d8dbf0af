package sandbox

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Layer is one of the walls around a child, as Probe found it.
type Layer struct {
	Name     string
	Held     bool
	Baseline bool   // without it, no untrusted code should run
	Detail   string // what was found
	Fix      string // what would help, where it is not held
}

// Baseline is an error that names the layers of the baseline that do not hold; nil if all do.
func Baseline(layers []Layer) error {
	var missing []string
	for _, l := range layers {
		if l.Baseline && !l.Held {
			missing = append(missing, l.Name)
		}
	}
	if missing == nil {
		return nil
	}
	return fmt.Errorf("the sandbox lacks %s", strings.Join(missing, ", "))
}

// Probe tries the sandbox as a node started here would have it.
func Probe() []Layer {
	s, err := New(Options{})
	if err != nil {
		return missing(err)
	}
	defer s.Close()
	return s.Probe()
}

// Probe starts a child that does everything but execute a program, and looks at it from outside: what a layer claims and
// what the kernel says of the child are not the same thing.
func (s *Sandbox) Probe() []Layer {
	if s.opts.Insecure {
		return missing(errInsecure)
	}
	c, err := s.startProbe()
	if err != nil {
		return s.diagnose(err)
	}
	defer c.end()
	var layers []Layer
	for _, n := range layerNames {
		if n.link != "" {
			layers = append(layers, c.namespace(n))
		}
	}
	return append(layers, c.emptyRoot(), c.capabilities(), c.status("no new privileges", "NoNewPrivs", "1", true),
		c.status("seccomp", "Seccomp", "2", true), landlockLayer(), c.ownUID(), s.limitsLayer(c), s.cgroupLayer())
}

type layerName struct {
	name, link string
	flag       uintptr
	baseline   bool
}

// layerNames are all layers in the order of Probe, with the namespace's link in /proc/PID/ns, and whether they are of the
// baseline.
var layerNames = []layerName{
	{"user namespace", "user", 0, true},
	{"mount namespace", "mnt", unix.CLONE_NEWNS, true},
	{"pid namespace", "pid", unix.CLONE_NEWPID, true},
	{"network namespace", "net", unix.CLONE_NEWNET, true},
	{"ipc namespace", "ipc", unix.CLONE_NEWIPC, false},
	{"uts namespace", "uts", unix.CLONE_NEWUTS, false},
	{"empty root", "", 0, true},
	{"no capabilities", "", 0, true},
	{"no new privileges", "", 0, true},
	{"seccomp", "", 0, true},
	{"landlock", "", 0, false},
	{"own user id", "", 0, false},
	{"resource limits", "", 0, false},
	{"cgroup", "", 0, false},
}

func missing(err error) (layers []Layer) {
	for _, n := range layerNames {
		layers = append(layers, Layer{Name: n.name, Baseline: n.baseline, Detail: err.Error(), Fix: fixNamespaces()})
	}
	return layers
}

// diagnose tries the namespaces one by one where they could not be had together.
func (s *Sandbox) diagnose(err error) []Layer {
	layers := missing(err)
	for i, n := range layerNames {
		switch {
		case n.name == "landlock":
			layers[i] = landlockLayer()
		case n.name == "cgroup":
			layers[i] = s.cgroupLayer()
		}
		if n.link == "" {
			continue
		}
		if err := s.tryNamespace(n.flag); err != nil {
			layers[i].Detail = err.Error()
		} else {
			layers[i] = Layer{Name: n.name, Held: true, Baseline: n.baseline, Detail: "can be had"}
		}
	}
	return layers
}

// tryNamespace forks a child that ends at once.
func (s *Sandbox) tryNamespace(flag uintptr) error {
	o := newOrder(plan{}, grant{uid: -1})
	o.Argv, o.Namespaces = []string{argv0, "none"}, unix.CLONE_NEWUSER|flag
	null := s.null.Fd()
	pid, err := s.order(o, []uintptr{null, null, null})
	if err != nil {
		return forkError(err)
	}
	return retry(func() error { _, err := unix.Wait4(pid, nil, 0, nil); return err })
}

// fixNamespaces names the switch that keeps user namespaces from an ordinary user, which differs by distribution.
func fixNamespaces() string {
	for _, s := range []struct{ file, bad, fix string }{
		{"/proc/sys/user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=10000"},
		{"/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"},
		{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1",
			"sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile for atoll that allows userns"},
	} {
		if b, err := os.ReadFile(s.file); err == nil && strings.TrimSpace(string(b)) == s.bad {
			return s.fix
		}
	}
	return "in a container, allow clone, unshare, mount and pivot_root (with Docker: --security-opt seccomp=unconfined " +
		"--security-opt apparmor=unconfined --security-opt systempaths=unconfined)"
}

func (s *Sandbox) cgroupLayer() Layer {
	l := Layer{Name: "cgroup", Held: s.groups != nil}
	if l.Held {
		l.Detail = s.groups.base
		return l
	}
	l.Detail, l.Fix = s.groupsErr.Error(), "run atoll as a systemd service with Delegate=cpu memory pids"
	return l
}

func landlockLayer() Layer {
	abi := landlockABI()
	l := Layer{Name: "landlock", Held: abi > 0, Detail: fmt.Sprintf("ABI %d", abi)}
	if !l.Held {
		l.Fix = "Linux 5.13 or later with landlock in CONFIG_LSM or lsm= on its command line"
	}
	return l
}

// probed is a child that waits to be looked at.
type probed struct {
	proc *Process
	dir  string // /proc/PID/task/TID: other threads of it were not confined
	hold *os.File
	stat map[string]string
}

func (s *Sandbox) startProbe() (*probed, error) {
	if err := s.begin(); err != nil {
		return nil, err
	}
	defer s.idle.Done()
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	in, hold, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	said, out, err := os.Pipe()
	if err != nil {
		hold.Close()
		return nil, err
	}
	defer said.Close()
	defer out.Close()
	cmd := Command{Path: self, Stdin: in, Stdout: out}
	pl, err := s.plan(cmd)
	var p *Process
	if err == nil {
		pl.Probe = true
		p, err = s.spawn(cmd, pl)
	}
	if err == nil {
		err = p.ready()
	}
	if err != nil {
		hold.Close()
		return nil, err
	}
	c := &probed{proc: p, hold: hold}
	out.Close()
	if err := c.find(said); err != nil {
		c.end()
		return nil, err
	}
	return c, nil
}

// find looks for the thread that the child says it is, by the id it has in its own namespace.
func (c *probed) find(said *os.File) error {
	tid, err := bufio.NewReader(said).ReadString('\n')
	if err != nil {
		return fmt.Errorf("hear from child: %w", err)
	}
	tasks := fmt.Sprintf("/proc/%d/task", c.proc.Pid())
	entries, err := os.ReadDir(tasks)
	if err != nil {
		return err
	}
	for _, e := range entries {
		c.dir = tasks + "/" + e.Name()
		b, err := os.ReadFile(c.dir + "/status")
		if err != nil {
			continue
		}
		c.stat = map[string]string{}
		for line := range strings.Lines(string(b)) {
			name, value, _ := strings.Cut(line, ":")
			c.stat[name] = strings.TrimSpace(value)
		}
		ids := strings.Fields(c.stat["NSpid"])
		if len(ids) > 0 && ids[len(ids)-1] == strings.TrimSpace(tid) {
			return nil
		}
	}
	return errors.New("the child's thread is not to be found")
}

func (c *probed) end() {
	c.hold.Close()
	_ = c.proc.Kill()
	<-c.proc.Done()
}

func (c *probed) namespace(n layerName) Layer {
	l := Layer{Name: n.name, Baseline: n.baseline}
	ours, err := os.Readlink("/proc/self/ns/" + n.link)
	theirs, err2 := os.Readlink(c.dir + "/ns/" + n.link)
	if err := errors.Join(err, err2); err != nil {
		l.Detail = err.Error()
		return l
	}
	l.Held, l.Detail = ours != theirs, theirs
	return l
}

// status is a layer that a field of /proc/PID/status shows (proc_pid_status(5)).
func (c *probed) status(name, field, want string, baseline bool) Layer {
	return Layer{Name: name, Baseline: baseline, Held: c.stat[field] == want, Detail: field + " " + c.stat[field]}
}

func (c *probed) capabilities() Layer {
	l := Layer{Name: "no capabilities", Baseline: true, Held: true}
	for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		if strings.Trim(c.stat[set], "0") != "" {
			l.Held = false
		}
		l.Detail += " " + set + " " + c.stat[set]
	}
	l.Detail = strings.TrimSpace(l.Detail)
	return l
}

// emptyRoot holds where the root is a tmpfs, read-only, below which nothing but what was bound is mounted.
func (c *probed) emptyRoot() Layer {
	l := Layer{Name: "empty root", Baseline: true}
	b, err := os.ReadFile(c.dir + "/mountinfo")
	if err != nil {
		l.Detail = err.Error()
		return l
	}
	mounts := 0
	for line := range strings.Lines(string(b)) {
		mounts++
		f := strings.Fields(line)
		if len(f) > 5 && f[4] == "/" {
			l.Held = strings.HasPrefix(f[5], "ro,") && strings.Contains(line, " - tmpfs ")
		}
	}
	l.Detail = strconv.Itoa(mounts) + " mounts"
	return l
}

func (c *probed) ownUID() Layer {
	l := Layer{Name: "own user id", Held: c.proc.UID() >= 0}
	uid, _, _ := strings.Cut(c.stat["Uid"], "\t")
	l.Detail = "user " + uid
	if l.Held {
		l.Held = uid == strconv.Itoa(c.proc.UID())
	} else {
		l.Fix = "run atoll as root, or with CAP_SETUID and CAP_SETGID, where those ids are mapped"
	}
	return l
}

func (s *Sandbox) limitsLayer(c *probed) Layer {
	l := Layer{Name: "resource limits", Held: true}
	for _, r := range s.rlimits(Limits{}) {
		var got unix.Rlimit
		if err := unix.Prlimit(c.proc.Pid(), r.Resource, nil, &got); err != nil || got.Max > r.Value {
			l.Held = false
		}
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", c.proc.Pid()))
	if score := strings.TrimSpace(string(b)); err != nil || score != strconv.Itoa(defaultOOMScore) {
		l.Held = false
	} else {
		l.Detail = "OOM score " + score
	}
	return l
}
