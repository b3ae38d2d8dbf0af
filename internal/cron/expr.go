package cron

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/adhocore/gronx"

	"atoll.dev/atoll/internal/fault"
)

// Expr is a parsed cron expression.
type Expr struct {
	text        string
	gronx       string
	lastWeekday bool // the day of month was LW, which gronx does not know
}

// Parse reads a cron expression of five fields as Cloudflare takes it: minute, hour, day of month (with L and W), month,
// day of week (1 is Sunday, 7 Saturday, or SUN to SAT, with L and #).
// https://developers.cloudflare.com/workers/configuration/cron-triggers/#supported-cron-expressions
func Parse(text string) (Expr, error) {
	bad := func(why string) (Expr, error) {
		return Expr{}, fault.Newf(fault.Invalid, 10026, "invalid cron string %q: %s", text, why)
	}
	if len(text) > 256 {
		return bad("it is too long")
	}
	fields := strings.Fields(text)
	if len(fields) != 5 {
		return bad("it must have five fields: minute, hour, day of month, month, day of week")
	}
	for _, f := range fields {
		if !field.MatchString(f) {
			return bad(fmt.Sprintf("%q is not a field", f))
		}
	}
	var ok bool
	if fields[4], ok = weekday(fields[4]); !ok {
		return bad("days of the week are 1 (Sunday) to 7 (Saturday) or SUN to SAT")
	}
	e := Expr{text: text, lastWeekday: strings.EqualFold(fields[2], "LW")}
	if e.lastWeekday {
		fields[2] = "26-31" // it is one of these
	}
	e.gronx = strings.Join(fields, " ")
	if !gronx.IsValid(e.gronx) {
		return bad("a field is out of its range")
	}
	if _, err := e.next(time.Now()); err != nil {
		return bad("it never fires")
	}
	return e, nil
}

var (
	field  = regexp.MustCompile(`(?i)^[0-9a-z*,/#-]+$`)
	number = regexp.MustCompile(`(^|[,-])([0-9]+)`)
)

// weekday turns Cloudflare's numbers (1 is Sunday) into cron's (0 is Sunday). Steps and the n of #n are not days.
func weekday(s string) (string, bool) {
	ok := true
	out := number.ReplaceAllStringFunc(s, func(m string) string {
		digits := strings.TrimLeft(m, ",-")
		n, err := strconv.Atoi(digits)
		if err != nil || n < 1 || n > 7 {
			ok = false
			return m
		}
		return strings.TrimSuffix(m, digits) + strconv.Itoa(n-1)
	})
	return out, ok
}

// String returns the expression as it was written.
func (e Expr) String() string { return e.text }

// next is the first minute after t at which the expression fires, in UTC.
func (e Expr) next(t time.Time) (time.Time, error) {
	for {
		next, err := gronx.NextTickAfter(e.gronx, t.UTC(), false)
		if err != nil || !e.lastWeekday || isLastWeekday(next) {
			return next, err
		}
		t = next.Truncate(24 * time.Hour).Add(24*time.Hour - time.Second) // on to the next day
	}
}

// isLastWeekday tells whether t is on the last day from Monday to Friday of its month.
func isLastWeekday(t time.Time) bool {
	last := time.Date(t.Year(), t.Month()+1, 0, 0, 0, 0, 0, time.UTC)
	switch last.Weekday() {
	case time.Saturday:
		last = last.AddDate(0, 0, -1)
	case time.Sunday:
		last = last.AddDate(0, 0, -2)
	}
	return t.Day() == last.Day()
}
