package dispatch

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"atoll.dev/atoll/internal/assets"
	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/hop"
)

// Asked is what a script's assets said of a request that they did not answer. The zero value: they were not asked.
type Asked struct {
	asked  bool
	images bool // a response that is no image is to be withheld
}

// Static answers a request from the script's assets, where these and not the Worker are to answer it, without waking the
// Worker; header is filled, and may be that of a ResponseWriter. Otherwise it returns nil, and what to put into the Call.
func (d *Dispatcher) Static(ctx context.Context, ref atoll.ScriptRef, r *assets.Request, header http.Header) (*assets.Answer, Asked, error) {
	if d.opts.Sites == nil {
		return nil, Asked{asked: true}, nil
	}
	s := d.script(ref)
	version, _, err := d.active(ctx, s)
	if err != nil || version.Assets == nil {
		return nil, Asked{asked: true}, err
	}
	s.touch()
	site, err := d.opts.Sites.Site(ctx, version)
	if err != nil {
		return nil, Asked{}, err
	}
	a, route, err := site.Answer(r, header)
	if err != nil {
		return nil, Asked{}, fmt.Errorf("serve assets of %s: %w", ref, err)
	}
	return a, Asked{asked: true, images: route == assets.ToImages}, nil
}

// touch notes that the script is in use, though none of its processes is.
func (s *script) touch() {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastUse = now
}

// fromAssets is Static for a call. What is not a request to the script as a whole, an event or a named entrypoint, is for
// code alone, and so is a subrequest that passes through an outbound Worker: its URL is of another site.
func (d *Dispatcher) fromAssets(ctx context.Context, c *Call) (*Reply, error) {
	if c.event != nil || c.Entrypoint != "" || c.OnBehalf {
		return nil, d.needCode(ctx, c)
	}
	if c.Asked.asked {
		return nil, nil
	}
	h := http.Header{}
	a, asked, err := d.Static(ctx, c.Script, &assets.Request{Method: c.Request.Method, Target: c.Request.Target,
		Scheme: c.Proto, Host: c.Request.Host, Header: c.Request.Header, Codings: assets.Gzip}, h)
	c.Asked = asked
	if a == nil || err != nil {
		return nil, err
	}
	return &Reply{Response: &hop.Response{Response: a.Response(h)}}, nil
}

// needCode refuses a call to code that the script has not.
func (d *Dispatcher) needCode(ctx context.Context, c *Call) error {
	if d.opts.Sites == nil {
		return nil
	}
	version, _, err := d.active(ctx, d.script(c.Script))
	switch {
	case err != nil || version.HasCode():
		return err
	case c.event != nil:
		return fmt.Errorf("call %s: %w", c.Script, &Exception{Name: "TypeError", Message: fmt.Sprintf("Handler does not export a %v() function.", c.event["type"])})
	case c.Entrypoint != "":
		return fmt.Errorf("call %s: %w", c.Script, &Exception{Name: "TypeError", Message: fmt.Sprintf("the Worker has no entrypoint %q", c.Entrypoint)})
	}
	return fmt.Errorf("call %s: %w", c.Script, &Exception{Name: "TypeError", Message: "Handler does not export a fetch() function."})
}

// onlyImages replaces a response that a framework's image proxy should not give.
func onlyImages(r *Reply) *Reply {
	if !assets.Suspect(r.StatusCode, r.Header) {
		return r
	}
	r.Close()
	const text = "Blocked"
	return &Reply{Response: &hop.Response{Response: &http.Response{StatusCode: http.StatusForbidden, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        http.Header{"Content-Type": {"text/plain;charset=UTF-8"}, "Content-Length": {fmt.Sprint(len(text))}},
		ContentLength: int64(len(text)), Body: io.NopCloser(strings.NewReader(text))}}}
}
