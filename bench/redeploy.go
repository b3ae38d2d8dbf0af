package main

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"atoll.dev/atoll/internal/atoll"
)

const (
	redeployTime        = 30 * time.Second
	redeployConnections = 8
)

// redeployUser answers in three parts, so that versions could mix within a response, and names its version in each.
const redeployUser = `const version = "%d";
export default {
  fetch() {
    let part = 0;
    const body = new ReadableStream({
      async pull(controller) {
        if (part > 0) await scheduler.wait(1);
        controller.enqueue(new TextEncoder().encode(version + " "));
        if (++part === 3) controller.close();
      },
    });
    return new Response(body, { headers: { "x-user": version } });
  },
};`

// redeployDispatcher is a dispatch Worker that names its own version.
const redeployDispatcher = `const version = "%d";
export default {
  async fetch(request, env) {
    const name = new URL(request.url).hostname.split(".")[0];
    const response = await env.DISPATCHER.get(name).fetch(request);
    const answer = new Response(response.body, response);
    answer.headers.set("x-dispatcher", version);
    return answer;
  },
};`

// redeploy keeps a load on one customer while it is deployed again each second, and every third time the dispatch Worker
// instead. No request may fail or be answered by a mix of versions, or by one from before a deploy that was acknowledged
// when the request was sent.
func (b *bench) redeploy() error {
	n, err := b.startNode()
	if err != nil {
		return err
	}
	defer n.stop()
	r := &redeployer{node: n}
	if err := r.run(); err != nil {
		return fmt.Errorf("%w\n%s", err, n.proc.said())
	}
	if bad := r.lost.Load() + r.mixed.Load() + r.stale.Load(); bad > 0 {
		return fmt.Errorf("%d requests were not answered as they should\n%s", bad, n.proc.said())
	}
	return nil
}

type redeployer struct {
	*node
	user, dispatcher          atomic.Int64 // the versions acknowledged
	answered                  atomic.Int64
	lost, mixed, stale        atomic.Int64
	mu                        sync.Mutex
	problem                   error // the first
	userDeploys, otherDeploys int
	uploads                   []float64
	latency                   histogram // guarded by mu
}

func (r *redeployer) run() error {
	if err := r.platform(fmt.Sprintf(redeployDispatcher, 0)); err != nil {
		return err
	}
	if err := r.deploy(user(helloName), fmt.Sprintf(redeployUser, 0)); err != nil {
		return err
	}
	noise := r.b.listen()
	end := time.Now().Add(redeployTime)
	var g errgroup.Group
	for range redeployConnections {
		g.Go(func() error { return r.load(end) })
	}
	err := r.deploys(end)
	if err := errors.Join(err, g.Wait()); err != nil {
		return err
	}
	t := newTable(fmt.Sprintf("%s at %d connections, a deploy a second", redeployTime, redeployConnections),
		[]column{{Name: "count", Sum: true}}, "answers", "lost", "mixed versions", "older than acknowledged", "deploys of the user Worker", "deploys of the dispatch Worker")
	for i, v := range []int64{r.answered.Load(), r.lost.Load(), r.mixed.Load(), r.stale.Load(), int64(r.userDeploys), int64(r.otherDeploys)} {
		t.add(t.Subjects[i].Name, float64(v))
	}
	if r.problem != nil {
		t.note("first problem: %v", r.problem)
	}
	t.note("a deploy took %.0f ms (median), an answer %.1f ms, 99%% of them less than %.1f", median(r.uploads),
		ms(r.latency.quantile(0.5)), ms(r.latency.quantile(0.99)))
	t.note("%s", noise.heard())
	t.finish()
	r.b.publish(t)
	return nil
}

// deploys deploys once a second.
func (r *redeployer) deploys(end time.Time) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for i := int64(1); ; i++ {
		select {
		case <-tick.C:
		case <-r.b.ctx.Done():
			return r.b.ctx.Err()
		}
		if time.Now().After(end.Add(-time.Second)) {
			return nil
		}
		began := time.Now()
		ref, script, acknowledged, count := user(helloName), redeployUser, &r.user, &r.userDeploys
		var bindings []map[string]any
		if i%3 == 0 {
			ref, script, acknowledged, count = atoll.ScriptRef{Name: dispatcher}, redeployDispatcher, &r.dispatcher, &r.otherDeploys
			bindings = append(bindings, dispatchBinding("DISPATCHER", namespace))
		}
		if err := r.deploy(ref, fmt.Sprintf(script, i), bindings...); err != nil {
			return err
		}
		acknowledged.Store(i)
		*count++
		r.uploads = append(r.uploads, ms(time.Since(began)))
	}
}

// load asks over one connection until end. An answer may close it, a failure is counted.
func (r *redeployer) load(end time.Time) error {
	var c *conn
	for time.Now().Before(end) && r.b.ctx.Err() == nil {
		if c == nil {
			var err error
			if c, err = dial("tcp", r.edge); err != nil {
				return err // the edge listens for the whole of the time
			}
		}
		atLeastUser, atLeastOther := r.user.Load(), r.dispatcher.Load()
		began := time.Now()
		res, _, err := c.do(request(host(helloName), "/"))
		took := time.Since(began)
		if err == nil && res.status != 200 {
			err = fmt.Errorf("answer %d %.200q", res.status, res.body)
		}
		switch {
		case err != nil:
			r.count(&r.lost, err, 0)
		default:
			r.judge(res, atLeastUser, atLeastOther, took)
		}
		if err != nil || res.close {
			c.Close()
			c = nil
		}
	}
	if c != nil {
		c.Close()
	}
	return r.b.ctx.Err()
}

// judge looks at an answer's versions.
func (r *redeployer) judge(res response, atLeastUser, atLeastOther int64, took time.Duration) {
	version := res.header("x-user")
	if want := strings.Repeat(version+" ", 3); version == "" || string(res.body) != want {
		r.count(&r.mixed, fmt.Errorf("version %q with body %q", version, res.body), took)
		return
	}
	if int64(number(version)) < atLeastUser || int64(number(res.header("x-dispatcher"))) < atLeastOther {
		r.count(&r.stale, fmt.Errorf("user version %s and dispatch version %s, after %d and %d had been acknowledged", version,
			res.header("x-dispatcher"), atLeastUser, atLeastOther), took)
		return
	}
	r.count(&r.answered, nil, took)
}

func (r *redeployer) count(what *atomic.Int64, problem error, took time.Duration) {
	what.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.problem == nil {
		r.problem = problem
	}
	if took > 0 {
		r.latency.add(took)
	}
}
