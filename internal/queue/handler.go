package queue

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
)

// Handler serves one queue to workerd's queue binding. The binding speaks HTTP (workerd's src/workerd/api/queue.c++ is the
// only description):
//
//	POST /message   the body; X-Msg-Fmt has its content type, v8 where it is absent, X-Msg-Delay-Secs the delay
//	POST /batch     {messages: [{body, contentType, delaySecs}]}, bodies in base64; X-Msg-Delay-Secs for all
//	GET  /metrics
//
// delay is the binding's own, in seconds; nil where it has none. What fails becomes an Error whose message has the reason
// phrase or, with the compatibility flag queue_expose_error_codes, the headers CF-Queues-Error-Cause and -Code. The server
// in front must let the connection be hijacked, because net/http writes no reason phrase of a handler's choice.
func (s *Store) Handler(account atoll.AccountID, name Name, delay *int64) http.Handler {
	return &binding{s, account, name, delay}
}

type binding struct {
	st      *Store
	account atoll.AccountID
	name    Name
	delay   *int64
}

// maxSent bounds the body of a request: a batch in base64, with what stands around the messages.
const maxSent = 2 << 20

func (b *binding) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer, err := b.serve(r)
	if err != nil {
		b.fail(w, r, err)
		return
	}
	data, _ := json.Marshal(answer) // numbers always marshal
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.Write(data) // what fails here is the Worker's connection
}

// metrics are a queue's as the binding reads them; 0 is no time.
type metrics struct {
	BacklogCount           int64 `json:"backlogCount"`
	BacklogBytes           int64 `json:"backlogBytes"`
	OldestMessageTimestamp int64 `json:"oldestMessageTimestamp"`
}

type sent struct {
	Metadata struct {
		Metrics metrics `json:"metrics"`
	} `json:"metadata"`
}

func (b *binding) serve(r *http.Request) (any, error) {
	if r.Method == http.MethodGet && r.URL.Path == "/metrics" {
		q, err := b.st.named(b.account, b.name)
		if err != nil {
			return nil, err
		}
		m, err := b.st.metrics(r.Context(), q)
		return shown(m), err
	}
	if r.Method != http.MethodPost || r.URL.Path != "/message" && r.URL.Path != "/batch" {
		return nil, fault.New(fault.NotFound, codeMessage, "no such operation")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxSent+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxSent {
		return nil, fault.New(fault.TooLarge, codeMessage, "the batch is too large")
	}
	list, err := parseSent(r.URL.Path, r.Header.Get("X-Msg-Fmt"), body)
	if err == nil && r.URL.Path == "/batch" {
		err = checkLargest(list)
	}
	if err != nil {
		return nil, err
	}
	delay := b.delay
	if text := r.Header.Get("X-Msg-Delay-Secs"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, fault.Newf(fault.Invalid, codeMessage, "message delay %.32q is invalid", text)
		}
		delay = &n
	}
	m, err := b.st.Send(r.Context(), b.account, b.name, delay, list)
	var answer sent
	answer.Metadata.Metrics = shown(m)
	return answer, err
}

func shown(m Metrics) metrics {
	out := metrics{BacklogCount: m.Count, BacklogBytes: m.Bytes}
	if !m.Oldest.IsZero() {
		out.OldestMessageTimestamp = m.Oldest.UnixMilli()
	}
	return out
}

// parseSent reads the messages of a request.
func parseSent(path, format string, body []byte) ([]Outgoing, error) {
	typed := func(t string) ContentType {
		if t == "" {
			return V8
		}
		return ContentType(strings.ToLower(t))
	}
	if path == "/message" {
		return []Outgoing{{Type: typed(format), Body: body}}, nil
	}
	var in struct {
		Messages []struct {
			Body        []byte `json:"body"`
			ContentType string `json:"contentType"`
			DelaySecs   *int64 `json:"delaySecs"`
		} `json:"messages"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, fault.New(fault.Invalid, codeMessage, "the batch is not valid")
	}
	list := make([]Outgoing, len(in.Messages))
	for i, m := range in.Messages {
		list[i] = Outgoing{Type: typed(m.ContentType), Body: m.Body, Delay: m.DelaySecs}
	}
	return list, nil
}

// fail answers a request with what the Worker's error shows.
func (b *binding) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, code, text := b.explain(r.Context(), err)
	io.Copy(io.Discard, io.LimitReader(r.Body, maxSent)) // the binding sends first, and is to read why
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		w.Header().Set("CF-Queues-Error-Code", strconv.Itoa(code))
		w.Header().Set("CF-Queues-Error-Cause", text)
		w.WriteHeader(status)
		return
	}
	defer conn.Close()
	buf.WriteString("HTTP/1.1 " + strconv.Itoa(status) + " " + text + "\r\nContent-Length: 0\r\nConnection: close\r\n")
	buf.WriteString("CF-Queues-Error-Code: " + strconv.Itoa(code) + "\r\nCF-Queues-Error-Cause: " + text + "\r\n\r\n")
	buf.Flush()
}

func (b *binding) explain(ctx context.Context, err error) (status, code int, text string) {
	f := fault.Of(err)
	switch {
	case f == nil:
		if ctx.Err() == nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			b.st.lg.Error("queue binding", "queue", b.name, "err", err)
		}
		return http.StatusInternalServerError, 15000, http.StatusText(http.StatusInternalServerError)
	case f.Kind == fault.TooLarge:
		status = http.StatusRequestEntityTooLarge
	case f.Kind == fault.Full:
		status = http.StatusInsufficientStorage
	case f.Kind == fault.NotFound:
		status = http.StatusNotFound
	default:
		status = http.StatusBadRequest
	}
	return status, f.Code, oneLine(f.Message)
}

// oneLine makes a message fit for a reason phrase (RFC 9112, section 4) and a header.
func oneLine(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c >= 0x7f {
			return ' '
		}
		return c
	}, s)
}
