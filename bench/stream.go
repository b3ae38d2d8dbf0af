package main

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	streamBytes = 100 << 20
	streamName  = "stream"
)

// streamScript answers with 100 MB in chunks of 64 KiB, as they are asked for.
var streamScript = `const chunk = new Uint8Array(65536);
export default {
  fetch() {
    let left = ` + strconv.Itoa(streamBytes/65536) + `;
    return new Response(new ReadableStream({
      type: "bytes",
      pull(controller) {
        controller.enqueue(chunk.slice());
        if (--left === 0) controller.close();
      },
    }));
  },
};`

// stream measures bodies of 100 MB that a user Worker makes, through the bare two-process chain and Atoll's.
func (b *bench) stream() error {
	subjects, end, err := b.streamers()
	defer end()
	if err != nil {
		return err
	}
	var names []string
	for _, s := range subjects {
		names = append(names, s.name)
	}
	t := newTable(fmt.Sprintf("A body of 100 MB, one after another (%d turns)", b.opts.pairs),
		[]column{{Name: "MB/s"}, {Name: "first byte ms", Digits: 2}, {Name: "CPU ms/100 MB"}, {Name: "peak PSS MB", Digits: 1}}, names...)
	t.ID = "stream"
	noise := b.listen()
	for range b.opts.pairs {
		for _, s := range subjects {
			before := cpuTime(s.pids(), false)
			took, first, peak, err := s.download()
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			cpu := since(before, cpuTime(s.pids(), false))
			t.add(s.name, float64(streamBytes)/1e6/took.Seconds(), ms(first), ms(cpu), mb(peak))
		}
	}
	t.note("%s", noise.heard())
	t.finish([2]string{atollChain, bareChain})
	b.publish(t)
	return nil
}

func (b *bench) streamers() (list []subjectServer, end func(), err error) {
	end = func() {
		for _, s := range list {
			s.close()
		}
	}
	srv, err := b.startChainOf(streamName, streamScript)
	if err != nil {
		return list, end, fmt.Errorf("start %s: %w", bareChain, err)
	}
	list = append(list, subjectServer{bareChain, srv})
	if b.opts.bare {
		return list, end, nil
	}
	n, err := b.startNode()
	if err != nil {
		return list, end, err
	}
	list = append(list, subjectServer{atollChain, n.server()})
	if err = n.platform(dispatchScript); err == nil {
		err = n.deploy(user(streamName), streamScript)
	}
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, n.proc.said())
	}
	return list, end, err
}

// download reads one body, and looks at the subject's memory meanwhile.
func (s subjectServer) download() (took, first time.Duration, peak int64, err error) {
	c, err := dial(s.network, s.address)
	if err != nil {
		return 0, 0, 0, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(2 * maxAnswer)); err != nil {
		return 0, 0, 0, err
	}
	began := time.Now()
	var group errgroup.Group
	done := make(chan struct{})
	group.Go(func() error {
		for {
			_, pss := memory(s.pids())
			peak = max(peak, pss)
			select {
			case <-done:
				return nil
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	n, first, err := c.drain(request(host(streamName), "/"), began)
	took = time.Since(began)
	close(done)
	group.Wait()
	if err == nil && n < streamBytes {
		err = fmt.Errorf("%d bytes came", n)
	}
	return took, first, peak, err
}

// drain sends a request and reads as much as a body of 100 MB has, in chunks and with its head.
func (c *conn) drain(request string, began time.Time) (n int64, first time.Duration, err error) {
	if _, err := io.WriteString(c, request); err != nil {
		return 0, 0, fmt.Errorf("send request: %w", err)
	}
	buf := make([]byte, 256<<10)
	end := "\r\n0\r\n\r\n"
	tail := ""
	for tail != end {
		k, err := c.Read(buf)
		if k > 0 && first == 0 {
			first = time.Since(began)
		}
		n += int64(k)
		tail += string(buf[max(0, k-len(end)):k])
		tail = tail[max(0, len(tail)-len(end)):]
		if err != nil {
			return n, first, fmt.Errorf("read response: %w", err)
		}
	}
	return n, first, nil
}
