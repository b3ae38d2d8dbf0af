package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// offerWrk runs a load with wrk, to check our own generator against one that others know. wrk looks at no body.
func (b *bench) offerWrk(l load) (loadResult, error) {
	var res loadResult
	if l.Network != "tcp" {
		return res, errors.New("wrk speaks TCP only")
	}
	ctx, cancel := context.WithTimeout(b.ctx, l.Duration+maxAnswer)
	defer cancel()
	_, host, _ := strings.Cut(l.Request, "Host: ")
	host, _, _ = strings.Cut(host, "\r\n")
	out, err := exec.CommandContext(ctx, "wrk", "-t1", fmt.Sprintf("-c%d", l.Connections), fmt.Sprintf("-d%ds", int(l.Duration.Seconds())),
		"--latency", "-H", "Host: "+host, "http://"+l.Address+"/").Output()
	if err != nil {
		return res, fmt.Errorf("wrk: %w", err)
	}
	return parseWrk(out)
}

var (
	wrkTotal   = regexp.MustCompile(`(\d+) requests in ([\d.]+)(\w+),`)
	wrkPart    = regexp.MustCompile(`(50|99)%\s+([\d.]+)(\w+)`)
	wrkErrors  = regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)`)
	wrkSockets = regexp.MustCompile(`Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)`)
)

// parseWrk reads wrk's report. Of the latencies only the median and the 99th percentile are known.
func parseWrk(out []byte) (res loadResult, err error) {
	m := wrkTotal.FindSubmatch(out)
	if m == nil {
		return res, fmt.Errorf("wrk said %q", bytes.TrimSpace(out))
	}
	res.Requests = int64(number(string(m[1])))
	if res.Elapsed, err = time.ParseDuration(string(m[2]) + string(m[3])); err != nil {
		return res, fmt.Errorf("wrk's duration: %w", err)
	}
	for _, m := range wrkPart.FindAllSubmatch(out, -1) {
		d, err := time.ParseDuration(string(m[2]) + string(m[3]))
		if err != nil {
			return res, fmt.Errorf("wrk's latency: %w", err)
		}
		// 99 parts at the median and one at the end give the histogram these two quantiles.
		n := map[string]int{"50": 98, "99": 2}[string(m[1])]
		for range n {
			res.Latency.add(d)
		}
	}
	for _, re := range []*regexp.Regexp{wrkErrors, wrkSockets} {
		if m := re.FindSubmatch(out); m != nil {
			for _, n := range m[1:] {
				k, _ := strconv.ParseInt(string(n), 10, 64)
				res.Errors += k
			}
			res.FirstError = string(m[0])
		}
	}
	res.Requests -= min(res.Errors, res.Requests)
	return res, nil
}
