package workerd

import (
	"encoding/json"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Wrapper is the name of the module that Atoll puts in front of a Worker's own as the main module. No module of a Worker
// may have it. It has no scheme and stands at the root, because under the flag new_module_registry only such a module can
// import its neighbours by "./name".
const Wrapper = "atoll-wrapper.js"

// maxStartupError bounds the message in bytes: an exception's text can be of any length.
const maxStartupError = 8 << 10

// ParseStartupError finds in workerd's stderr why a Worker did not start, in the words of Cloudflare's API error 10021:
//
//	Uncaught ReferenceError: window is not defined
//	  at worker.js:1:1
//
// Stack lines of the wrapper and of extension modules named "atoll:..." are left out. It returns false where stderr names
// no reason, or one that lies with the configuration and not with the Worker.
//
// The Worker itself can write to the same stream with console.error, and so make up the reason for its own failure. It
// can fail without the process ending, too: where its exception throws on being turned into text, workerd logs so, goes on
// and fails every request.
func ParseStartupError(stderr []byte) (message string, ok bool) {
	var unspeakable, noMemory bool
	for _, entry := range entries(stderr) {
		switch text, found := strings.CutPrefix(entry, "service "); {
		case found && !warning.MatchString(text):
			if _, text, found = strings.Cut(text, ": "); found {
				return tidy(text), true
			}
		case strings.HasPrefix(entry, "script startup threw exception"):
			unspeakable = true
		case strings.HasPrefix(entry, "V8 fatal error; location = Reached heap limit"):
			noMemory = true
		}
	}
	switch {
	case noMemory:
		return "Script startup exceeded memory limit.", true
	case unspeakable:
		return "Uncaught Error: the exception cannot be turned into text", true
	}
	return "", false
}

// warning matches what workerd says of Workers that start.
var warning = regexp.MustCompile(`^\S+: The compatibility flag \S+ (became the default as of \S+|is the default,) so does not need to be specified anymore\.`)

// entries splits stderr into what was logged at a time, each without the prefix that says where in workerd. Lines that
// start nothing belong to the entry before them; console output is among them.
func entries(stderr []byte) []string {
	var list []string
	for line := range strings.Lines(string(stderr)) {
		text, starts := line, strings.HasPrefix(line, "service ")
		if m := logPrefix.FindString(line); m != "" {
			text, starts = line[len(m):], true
		} else if message, ok := structured(line); ok {
			text, starts = message, true
		}
		if starts {
			list = append(list, text)
		} else if len(list) > 0 {
			list[len(list)-1] += text
		}
	}
	return list
}

// logPrefix matches the start of a line of workerd's log, "workerd/io/worker.c++:392: error: ".
var logPrefix = regexp.MustCompile(`^\S+:\d+: (fatal|error|warning|info|debug): `)

// structured returns the message of a line of workerd's log in its JSON form, which [Logging] turns on. Console output has
// that form too, but no source.
func structured(line string) (message string, ok bool) {
	var e struct {
		Source  string `json:"source"`
		Message string `json:"message"`
	}
	if !strings.HasPrefix(line, "{") || json.Unmarshal([]byte(line), &e) != nil || e.Source == "" {
		return "", false
	}
	return e.Message, true
}

// tidy drops the lines that lead into Atoll's own modules, and bounds the length.
func tidy(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !ours.MatchString(line) {
			b.WriteString(line)
		}
	}
	text = strings.TrimSpace(b.String())
	text = strings.TrimSuffix(text, " To use this flag, you must pass --experimental on the command line.") // not a tenant's to do
	if len(text) <= maxStartupError {
		return text
	}
	end := maxStartupError
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "..."
}

// ours matches stack lines of Atoll's modules, in the forms of both module registries, the line that workerd makes of a
// place in no module at all, and what it says of a socket for what has not come to be.
var ours = regexp.MustCompile(`^(  at (file:///bundle/)?(` + regexp.QuoteMeta(Wrapper) + `|atoll:[^:]+)(:\d+)*( in .*)?|  imported from "` + regexp.QuoteMeta(Wrapper) + `"|:\d+:\d+|Socket "rpc" refers to .*)\s*$`)
