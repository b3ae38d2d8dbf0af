package hop

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
)

// Connect asks the server at a Unix socket to be connected with a host (RFC 9110, section 9.3.6).
func Connect(ctx context.Context, path, host string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	if _, err = fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", host); err == nil {
		err = readConnected(c)
	}
	if err != nil {
		c.Close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	return c, nil
}

// readConnected reads the head of the answer to a CONNECT byte by byte, since what follows is not HTTP any more.
func readConnected(c net.Conn) error {
	head := make([]byte, 0, 256)
	for b := make([]byte, 1); !bytes.HasSuffix(head, []byte("\r\n\r\n")); {
		if len(head) == maxHead {
			return ErrHeadTooLarge
		}
		if _, err := c.Read(b); err != nil {
			return err
		}
		head = append(head, b[0])
	}
	res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(head)), &http.Request{Method: http.MethodConnect})
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("connect: %s", res.Status)
	}
	return err
}
