package main

import (
	"fmt"
	"html"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// claim is a ratio that Atoll is meant to keep. Its bar is where it is not met any more.
type claim struct {
	label  string
	table  string // its ID
	ratio  string
	column string
	bar    float64
	more   bool // is better
}

var claims = []claim{
	{"chain / bare two-process chain, requests/s, 8 connections", "chain/8", atollChain + " / " + bareChain, "requests/s", 0.8, true},
	{"chain / bare two-process chain, p50, 8 connections", "chain/8", atollChain + " / " + bareChain, "p50 ms", 1.4, false},
	{"chain / bare two-process chain, p99, 8 connections", "chain/8", atollChain + " / " + bareChain, "p99 ms", 1.2, false},
	{"chain / miniflare's, requests/s, 8 connections", "chain/8", atollChain + " / " + miniflareChain, "requests/s", 2, true},
	{"router by subdomain / dispatch Worker, requests/s, 8 connections", "router/8", routedBySubdomain + " / " + routedByWorker, "requests/s", 2, true},
	{"plan from KV / miniflare's, requests/s, 8 connections", "plans/8", byAtoll + " / " + byMiniflare, "requests/s", 2, true},
	{"cold start / spawning bare workerd, ms", "cold", atollCold + " / " + bareSpawn, "ms", 0.55, false},
	{"deploy to live / spawning bare workerd, ms", "live", atollDeploy + " / " + bareSpawn, "ms", 1.5, false},
	{"with limits / without, requests/s", "overhead", withLimits + " / " + withoutLimits, "requests/s", 0.97, true},
	{"tenant beside a hog / alone, p99", "neighbor", besideHog + " / " + alone, "p99 ms", 2, false},
	{"small HTML / nginx, requests/s, 8 connections", "assets/small HTML/8", byRoute + " / " + byNginx, "requests/s", 0.5, true},
	{"100 KB script / nginx, requests/s, 8 connections", "assets/100 KB script/8", byRoute + " / " + byNginx, "requests/s", 0.5, true},
	{"10 MB file / nginx, bytes/s, 8 connections", "assets/10 MB file/8", byRoute + " / " + byNginx, "requests/s", 0.9, true},
	{"warm script / bare workerd, PSS", "density", atollProcess + " / " + bareProcess, "PSS MB each", 1.1, false},
	{"100 MB streamed / bare two-process chain, bytes/s", "stream", atollChain + " / " + bareChain, "MB/s", 0.8, true},
	{"idle WebSocket / bare two-process chain, PSS", "sockets", atollChain + " / " + bareChain, "PSS KB each", 2, false},
}

// kept is a claim with what was measured.
type kept struct {
	claim
	median, low, high float64
}

func (k kept) met() bool { return k.more == (k.median >= k.bar) || k.median == k.bar }

// keep finds the claims that the tables of a run tell about; rows of bindings are claims of their own.
func keep(tables []*table) (list []kept) {
	all := claims
	for _, t := range tables {
		if name, ok := strings.CutPrefix(t.ID, "bindings/"); ok {
			all = append(all[:len(all):len(all)], claim{name + " / miniflare, requests/s", t.ID, byAtoll + " / " + byMiniflare, "requests/s", 1, true})
		}
	}
	for _, c := range all {
		for _, t := range tables {
			if k, ok := t.keeps(c); ok {
				list = append(list, k)
			}
		}
	}
	return list
}

func (t *table) keeps(c claim) (kept, bool) {
	for _, r := range t.Ratios {
		for i, col := range t.Columns {
			if t.ID == c.table && r.Name == c.ratio && col.Name == c.column && r.Medians[i] >= 0 {
				return kept{c, r.Medians[i], r.Low[i], r.High[i]}, true
			}
		}
	}
	return kept{}, false
}

// writeReport writes docs/performance.md and its chart from a run.
func (b *bench) writeReport(m machine) error {
	list := keep(b.tables)
	var doc strings.Builder
	fmt.Fprintf(&doc, `# Performance

This page and its chart are written by `+"`make bench`"+`: the figures of one run on one machine, each subject in turns with its
baseline, in the same minutes. Only the ratios mean anything elsewhere. bench/results.json has every sample; `+"`go run ./bench -h`"+`
tells of the scenarios, and how to run one.

![Ratios, and what they are meant to be](performance.svg)

%s

| ratio | median | least to greatest | meant to be | |
|---|---|---|---|---|
`, strings.ReplaceAll("    "+m.String(), "\n", "\n  "))
	for _, k := range list {
		sign, verdict := "at most", "met"
		if k.more {
			sign = "at least"
		}
		if !k.met() {
			verdict = "**missed**"
		}
		fmt.Fprintf(&doc, "| %s | %.2f | %.2f to %.2f | %s %s | %s |\n", k.label, k.median, k.low, k.high, sign, short(k.bar), verdict)
	}
	for _, t := range b.tables {
		doc.WriteString("\n```text")
		t.write(&doc)
		doc.WriteString("```\n")
	}
	for name, text := range map[string]string{"docs/performance.md": doc.String(), "docs/performance.svg": chart(list, m)} {
		if err := os.WriteFile(filepath.Join(b.root, name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("write report: %w", err)
		}
	}
	return nil
}

func short(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// The chart's sizes in pixels. Ratios are on a logarithmic scale from 1/16 to 16.
const (
	chartLabels = 470
	chartWidth  = 400
	chartRow    = 26
	chartTop    = 62
	chartSpan   = 4 // powers of two to each side
)

func chartX(ratio float64) float64 {
	at := min(max(math.Log2(ratio), -chartSpan), chartSpan)
	return chartLabels + chartWidth*(at+chartSpan)/(2*chartSpan)
}

// chart draws each ratio as a dot with its range, beside a mark where it is meant to be.
func chart(list []kept, m machine) string {
	var svg strings.Builder
	height := chartTop + chartRow*len(list) + 30
	fmt.Fprintf(&svg, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="13">`+"\n", chartLabels+chartWidth+90, height)
	fmt.Fprintf(&svg, `<rect width="100%%" height="100%%" fill="#fff"/>`+"\n")
	fmt.Fprintf(&svg, `<text x="12" y="22" font-size="15" font-weight="bold">Atoll beside its baselines</text>`+"\n")
	fmt.Fprintf(&svg, `<text x="12" y="42" fill="#555">%s</text>`+"\n", html.EscapeString(fmt.Sprintf("%s, %d cores, workerd %s, atoll %s, %.10s", m.CPU, m.Cores, m.Workerd, m.Atoll, m.Date)))
	for p := -chartSpan; p <= chartSpan; p++ {
		ratio := math.Exp2(float64(p))
		stroke := "#e4e4e4"
		if p == 0 {
			stroke = "#999"
		}
		fmt.Fprintf(&svg, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="%s"/>`+"\n", chartX(ratio), chartTop-8, chartX(ratio), height-24, stroke)
		fmt.Fprintf(&svg, `<text x="%.1f" y="%d" fill="#555" font-size="11" text-anchor="middle">%.4gx</text>`+"\n", chartX(ratio), height-8, ratio)
	}
	for i, k := range list {
		y := chartTop + chartRow*i + 8
		color := "#1a7f37"
		if !k.met() {
			color = "#c62828"
		}
		fmt.Fprintf(&svg, `<text x="12" y="%d">%s</text>`+"\n", y+4, html.EscapeString(k.label))
		fmt.Fprintf(&svg, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="%s" stroke-width="3" stroke-opacity="0.35"/>`+"\n", chartX(k.low), y, chartX(k.high), y, color)
		fmt.Fprintf(&svg, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#333" stroke-width="2"/>`+"\n", chartX(k.bar), y-8, chartX(k.bar), y+8)
		fmt.Fprintf(&svg, `<circle cx="%.1f" cy="%d" r="5" fill="%s"/>`+"\n", chartX(k.median), y, color)
		fmt.Fprintf(&svg, `<text x="%d" y="%d" fill="%s">%.2fx</text>`+"\n", chartLabels+chartWidth+14, y+4, color, k.median)
	}
	svg.WriteString("</svg>\n")
	return svg.String()
}
