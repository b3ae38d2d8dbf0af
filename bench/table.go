package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// table is what a scenario measured: subjects beside each other, each sample of one taken in the same minute as the
// sample of the same index of the others. Only the ratios mean anything on another machine.
type table struct {
	ID       string    `json:"id,omitempty"`
	Title    string    `json:"title"`
	Notes    []string  `json:"notes,omitempty"`
	Columns  []column  `json:"columns"`
	Subjects []subject `json:"subjects"`
	Ratios   []ratio   `json:"ratios,omitempty"`
}

// column is something that is measured of each subject.
type column struct {
	Name   string `json:"name"`
	Digits int    `json:"-"`
	Sum    bool   `json:"sum,omitempty"` // the samples add up, as errors do; there is no ratio of them
}

// subject is what is measured; Samples has a list a column.
type subject struct {
	Name    string      `json:"name"`
	Samples [][]float64 `json:"samples"`
	Values  []float64   `json:"values"` // the median of each column, or the sum
}

// ratio compares two subjects sample by sample.
type ratio struct {
	Name    string    `json:"name"`
	Medians []float64 `json:"medians"` // of the pairs' ratios, a column each; NaN is left out as -1
	Low     []float64 `json:"low"`
	High    []float64 `json:"high"`
}

func newTable(title string, columns []column, subjects ...string) *table {
	t := &table{Title: title, Columns: columns}
	for _, name := range subjects {
		t.Subjects = append(t.Subjects, subject{Name: name, Samples: make([][]float64, len(columns))})
	}
	return t
}

// add appends one sample of a subject, a value a column.
func (t *table) add(subject string, values ...float64) {
	for i := range t.Subjects {
		if s := &t.Subjects[i]; s.Name == subject {
			for c, v := range values {
				s.Samples[c] = append(s.Samples[c], v)
			}
		}
	}
}

func (t *table) note(format string, args ...any) {
	t.Notes = append(t.Notes, fmt.Sprintf(format, args...))
}

// subject returns the subject of that name, or nil.
func (t *table) subject(name string) *subject {
	i := slices.IndexFunc(t.Subjects, func(s subject) bool { return s.Name == name })
	if i < 0 {
		return nil
	}
	return &t.Subjects[i]
}

// finish computes the medians, and the ratios of each pair of subject and base of which both were measured.
func (t *table) finish(pairs ...[2]string) {
	for i := range t.Subjects {
		s := &t.Subjects[i]
		for c, col := range t.Columns {
			if col.Sum {
				s.Values = append(s.Values, sum(s.Samples[c]))
			} else {
				s.Values = append(s.Values, median(s.Samples[c]))
			}
		}
	}
	for _, p := range pairs {
		a, b := t.subject(p[0]), t.subject(p[1])
		if a == nil || b == nil {
			continue
		}
		r := ratio{Name: p[0] + " / " + p[1]}
		for c, col := range t.Columns {
			list := t.pairRatios(p[0], p[1], c)
			if len(list) == 0 || col.Sum {
				list = []float64{-1}
			}
			r.Medians, r.Low, r.High = append(r.Medians, median(list)), append(r.Low, slices.Min(list)), append(r.High, slices.Max(list))
		}
		t.Ratios = append(t.Ratios, r)
	}
}

// pairRatios are one subject's samples of a column by another's of the same turn.
func (t *table) pairRatios(subject, base string, column int) (list []float64) {
	a, b := t.subject(subject).Samples[column], t.subject(base).Samples[column]
	for i := range min(len(a), len(b)) {
		if b[i] > 0 {
			list = append(list, a[i]/b[i])
		}
	}
	return list
}

// medianInterval is the interval between two of the values that the median of what they are samples of is in with 95%
// confidence, whatever its distribution: each sample is above the median with probability 1/2.
func medianInterval(list []float64) (low, high float64) {
	list = slices.Sorted(slices.Values(list))
	n := len(list)
	if n == 0 {
		return 0, 0
	}
	below, term := 0.0, math.Pow(0.5, float64(n)) // the binomial distribution's
	out := 0                                      // values that may be left out at each end
	for k := 0; k < n/2; k++ {
		if below += term; below > 0.025 {
			break
		}
		out = k
		term *= float64(n-k) / float64(k+1)
	}
	return list[out], list[n-1-out]
}

func sum(list []float64) (s float64) {
	for _, v := range list {
		s += v
	}
	return s
}

func median(list []float64) float64 { return quantile(list, 0.5) }

// quantile of a list, between neighbours where it falls between them; 0 of an empty one.
func quantile(list []float64, q float64) float64 {
	if len(list) == 0 {
		return 0
	}
	list = slices.Sorted(slices.Values(list))
	at := q * float64(len(list)-1)
	low, part := math.Modf(at)
	i := int(low)
	if i+1 == len(list) {
		return list[i]
	}
	return list[i] + part*(list[i+1]-list[i])
}

// write prints the table with aligned columns.
func (t *table) write(w io.Writer) {
	fmt.Fprintf(w, "\n%s\n", t.Title)
	rows := [][]string{{""}}
	for _, c := range t.Columns {
		rows[0] = append(rows[0], c.Name)
	}
	for _, s := range t.Subjects {
		row := []string{s.Name}
		for c, v := range s.Values {
			row = append(row, strconv.FormatFloat(v, 'f', t.Columns[c].Digits, 64))
		}
		rows = append(rows, row)
	}
	for _, r := range t.Ratios {
		row := []string{r.Name}
		for c := range t.Columns {
			cell := "-"
			if r.Medians[c] >= 0 {
				cell = fmt.Sprintf("%.2fx", r.Medians[c])
				if r.Low[c] != r.High[c] {
					cell += fmt.Sprintf(" (%.2f-%.2f)", r.Low[c], r.High[c])
				}
			}
			row = append(row, cell)
		}
		rows = append(rows, row)
	}
	writeRows(w, rows)
	for _, n := range t.Notes {
		fmt.Fprintf(w, "  %s\n", n)
	}
}

// writeRows aligns the first column left and the others right.
func writeRows(w io.Writer, rows [][]string) {
	width := map[int]int{}
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], len(cell))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		fmt.Fprintf(&line, "  %-*s", width[0], row[0])
		for i, cell := range row[1:] {
			fmt.Fprintf(&line, "  %*s", width[i+1], cell)
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}
