package main

import (
	"fmt"
	"time"
)

// live measures a deploy from the upload's first byte to the first answer of the new version through the edge.
func (b *bench) live() error {
	samples := 4 * b.opts.pairs
	columns := []column{{Name: "ms", Digits: 1}}
	t := newTable(fmt.Sprintf("Deploy to live (%d turns)", samples), columns, bareSpawn, bareBinary, atollDeploy, "  of it the upload")
	t.ID = "live"
	var n *node
	if !b.opts.bare {
		var err error
		if n, err = b.startNode(); err != nil {
			return err
		}
		defer n.stop()
		if err := n.platform(dispatchScript); err != nil {
			return fmt.Errorf("%w\n%s", err, n.proc.said())
		}
		if _, _, err := n.goLive("v"); err != nil { // wakes the dispatch Worker
			return fmt.Errorf("%w\n%s", err, n.proc.said())
		}
	}
	noise := b.listen()
	for i := range samples {
		if err := b.spawns(t); err != nil {
			return err
		}
		if n == nil {
			continue
		}
		uploaded, lived, err := n.goLive(fmt.Sprintf("v%d", i))
		if err != nil {
			return fmt.Errorf("%w\n%s", err, n.proc.said())
		}
		t.add(atollDeploy, ms(lived))
		t.add("  of it the upload", ms(uploaded))
		if err := b.sleep(rest); err != nil {
			return err
		}
	}
	t.note("%s", noise.heard())
	if n == nil {
		t.finish()
	} else {
		t.finish([2]string{atollDeploy, bareSpawn}, [2]string{atollDeploy, bareBinary})
	}
	b.publish(t)
	return nil
}

// goLive deploys a version and asks until it answers.
func (n *node) goLive(version string) (uploaded, lived time.Duration, err error) {
	script := `export default { fetch() { return new Response("` + version + `"); } };`
	c, err := dial("tcp", n.edge)
	if err != nil {
		return 0, 0, err
	}
	defer c.Close()
	began := time.Now()
	if err := n.deploy(user(helloName), script); err != nil {
		return 0, 0, err
	}
	uploaded = time.Since(began)
	for time.Since(began) < maxAnswer {
		res, first, err := c.do(request(host(helloName), "/"))
		if err != nil {
			return 0, 0, err
		}
		if check(res, nil, version) == nil {
			return uploaded, first.Sub(began), nil
		}
	}
	return 0, 0, fmt.Errorf("version %s did not come to life in %s", version, maxAnswer)
}
