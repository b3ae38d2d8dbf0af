package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/internal/wire"
)

// This file holds the rules of output. On stderr, a failure is one line "atoll: error: what" and, where there is one,
// "atoll: hint: what to do". On stdout, a list is a table, one thing is a list of its fields, and --json turns both into
// what the API answered.

// hintError is an error that says what to do about it.
type hintError struct {
	err  error
	hint string
}

func (e *hintError) Error() string { return e.err.Error() }
func (e *hintError) Unwrap() error { return e.err }

// hint adds advice to an error that has none.
func hint(err error, format string, args ...any) error {
	return &hintError{err, fmt.Sprintf(format, args...)}
}

// usageError is a command line that cannot be understood.
type usageError struct{ error }

func usage(cmd *cobra.Command, err error) error {
	return hint(&usageError{err}, "'%s --help' shows how to use it", cmd.CommandPath())
}

// report writes an error and its hint.
func report(w io.Writer, err error) {
	fmt.Fprintf(w, "atoll: error: %s\n", indent(text(err)))
	if h := hintOf(err); h != "" {
		fmt.Fprintf(w, "atoll: hint: %s\n", indent(h))
	}
}

func hintOf(err error) string {
	var h *hintError
	if errors.As(err, &h) {
		return h.hint
	}
	return advice(err)
}

// indent keeps the lines of a message (JavaScript's have a stack) apart from the next message.
func indent(s string) string {
	return strings.ReplaceAll(strings.TrimRight(plainLines(s), "\n"), "\n", "\n  ")
}

// printJSON writes v as the API wrote it, indented.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// table collects the rows of a list.
type table struct {
	head []string
	rows [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// write prints the table, or says that there is none.
func (t *table) write(w io.Writer, none string) error {
	if len(t.rows) == 0 {
		_, err := fmt.Fprintln(w, none)
		return err
	}
	var buf bytes.Buffer
	tw := tabwriter.NewWriter(&buf, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, strings.Join(t.head, "\t"))
	for _, row := range t.rows {
		for i, cell := range row {
			row[i] = plain(cell)
		}
		fmt.Fprintln(tw, strings.Join(row, "\t"))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	// tabwriter pads an empty last cell: blanks at the end of a line are nobody's.
	for line := range strings.Lines(buf.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// fields prints name and value pairs of one thing; empty values are left out.
func fields(w io.Writer, pairs ...string) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			fmt.Fprintf(tw, "%s:\t%s\n", pairs[i], plain(pairs[i+1]))
		}
	}
	return tw.Flush()
}

// plain makes one line of s without what a terminal would obey instead of showing: names, tags and messages come from
// tenants.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		if unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// plainLines is plain for text of several lines.
func plainLines(s string) string {
	lines := strings.Split(strings.ReplaceAll(s, "\t", "    "), "\n")
	for i, l := range lines {
		lines[i] = plain(strings.TrimSuffix(l, "\r"))
	}
	return strings.Join(lines, "\n")
}

// when shows a time of the API in this machine's zone.
func when(t wire.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(time.DateTime)
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
