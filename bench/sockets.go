package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

const (
	socketCount = 2000
	socketName  = "sockets"
)

// socketScript accepts WebSockets and echoes what they send.
const socketScript = `export default {
  fetch(request) {
    if (request.headers.get("upgrade") !== "websocket") return new Response("` + helloText + `");
    const [client, server] = Object.values(new WebSocketPair());
    server.accept();
    server.addEventListener("message", (event) => server.send(event.data));
    return new Response(null, { status: 101, webSocket: client });
  },
};`

// sockets opens 2,000 WebSockets that stay silent, through the bare two-process chain and Atoll's, one after the other.
func (b *bench) sockets() error {
	t := newTable(fmt.Sprintf("%d idle WebSockets", socketCount), []column{{Name: "opened/s"}, {Name: "PSS KB each", Digits: 1},
		{Name: "CPU us/s", Digits: 0}, {Name: "p50 ms beside", Digits: 2}, {Name: "p99 ms beside", Digits: 2}}, bareChain, atollChain)
	t.ID = "sockets"
	noise := b.listen()
	srv, err := b.startChainOf(socketName, socketScript)
	if err != nil {
		return fmt.Errorf("start %s: %w", bareChain, err)
	}
	err = b.idle(t, subjectServer{bareChain, srv})
	srv.close()
	if err != nil {
		return fmt.Errorf("%s: %w", bareChain, err)
	}
	if !b.opts.bare {
		n, err := b.startNode("--limit", fmt.Sprintf("websockets=%d,concurrent-requests=%d", socketCount+10, socketCount+100))
		if err != nil {
			return err
		}
		defer n.stop()
		if err = n.platform(dispatchScript); err == nil {
			err = n.deploy(user(socketName), socketScript)
		}
		if err == nil {
			err = b.idle(t, subjectServer{atollChain, n.server()})
		}
		if err != nil {
			return fmt.Errorf("%s: %w\n%s", atollChain, err, n.proc.said())
		}
	}
	t.note("%s", noise.heard())
	t.finish([2]string{atollChain, bareChain})
	b.publish(t)
	return nil
}

// idle opens the sockets, measures while they are silent, and asks the last for an echo.
func (b *bench) idle(t *table, s subjectServer) error {
	l := load{Network: s.network, Address: s.address, Request: request(host(socketName), "/"), Want: helloText, Connections: 4, Duration: 2 * time.Second, Rate: 100}
	if _, err := b.offer(l); err != nil { // what is compiled and opened at first is not measured
		return err
	}
	_, before := memory(s.pids())
	began := time.Now()
	var list []*conn
	defer func() {
		for _, c := range list {
			c.Close()
		}
	}()
	for range socketCount {
		c, err := s.upgrade()
		if err != nil {
			return fmt.Errorf("WebSocket %d: %w", len(list)+1, err)
		}
		list = append(list, c)
	}
	rate := socketCount / time.Since(began).Seconds()
	if err := b.sleep(2 * time.Second); err != nil { // what opening them left behind is gone
		return err
	}
	_, after := memory(s.pids())
	cpu := cpuTime(s.pids(), false)
	if err := b.sleep(3 * time.Second); err != nil {
		return err
	}
	used := since(cpu, cpuTime(s.pids(), false)) / 3
	res, err := b.offer(l)
	if err != nil {
		return err
	}
	if res.Errors > 0 {
		return fmt.Errorf("%d errors beside the sockets, first: %s", res.Errors, res.FirstError)
	}
	t.add(s.name, rate, float64(after-before)/1024/socketCount, used.Seconds()*1e6, ms(res.Latency.quantile(0.5)), ms(res.Latency.quantile(0.99)))
	return list[0].echo()
}

// upgrade opens a WebSocket (RFC 6455, section 4.1).
func (s subjectServer) upgrade() (*conn, error) {
	c, err := dial(s.network, s.address)
	if err != nil {
		return nil, err
	}
	if err = c.SetDeadline(time.Now().Add(maxAnswer)); err == nil {
		_, err = io.WriteString(c, "GET / HTTP/1.1\r\nHost: "+host(socketName)+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	}
	buf := make([]byte, 4<<10)
	n := 0
	for err == nil && !strings.Contains(string(buf[:n]), "\r\n\r\n") {
		var k int
		k, err = c.Read(buf[n:])
		n += k
	}
	if err == nil && !strings.HasPrefix(string(buf[:n]), "HTTP/1.1 101") {
		err = fmt.Errorf("answer %.200q", buf[:n])
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// echo sends a masked text frame of one letter and reads it back (RFC 6455, section 5.2).
func (c *conn) echo() error {
	if err := c.SetDeadline(time.Now().Add(maxAnswer)); err != nil {
		return err
	}
	if _, err := c.Write([]byte{0x81, 0x81, 0, 0, 0, 0, 'a'}); err != nil {
		return err
	}
	var frame [3]byte
	if _, err := io.ReadFull(c, frame[:]); err != nil {
		return fmt.Errorf("no echo: %w", err)
	}
	if frame != [3]byte{0x81, 1, 'a'} {
		return errors.New("not the echo")
	}
	return nil
}
