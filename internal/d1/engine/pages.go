package engine

import "errors"

// Pages are a database as pages, which may be read and written within a transaction: https://sqlite.org/dbpage.html. Once some
// were written, the connection is good for nothing but to commit and to be closed: it knows another schema.
type Pages struct {
	c           *Conn
	read, write *Stmt
	restricted  bool
}

// Pages allows pages to be written until they are closed.
func (c *Conn) Pages() (_ *Pages, err error) {
	p := &Pages{c: c, restricted: c.restricted}
	c.restricted = false
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	if err := c.config(defensive, 0); err != nil {
		return nil, err
	}
	if p.read, err = c.Prepare("SELECT data FROM sqlite_dbpage WHERE pgno = ?"); err != nil {
		return nil, err
	}
	p.write, err = c.Prepare("INSERT INTO sqlite_dbpage (pgno, data) VALUES (?, ?)")
	return p, err
}

// Close ends it.
func (p *Pages) Close() error {
	for _, st := range []*Stmt{p.read, p.write} {
		if st != nil {
			st.Close()
		}
	}
	p.c.restricted = p.restricted
	return p.c.config(defensive, 1)
}

// Read copies a page to b.
func (p *Pages) Read(number uint32, b []byte) error {
	defer p.read.Reset()
	if err := p.read.Bind([]Param{{Kind: Number, Number: float64(number)}}); err != nil {
		return err
	}
	more, err := p.read.Step()
	if err != nil {
		return err
	}
	if !more {
		return errNoPage
	}
	v, err := p.read.Value(0)
	if err == nil && copy(b, v.Memory) != PageSize {
		err = errNoPage
	}
	return err
}

var errNoPage = errors.New("the database has no such page")

// Write replaces a page, which may be one after the last.
func (p *Pages) Write(number uint32, b []byte) error {
	return p.run(number, Param{Kind: Blob, Blob: b})
}

// Truncate cuts off the pages after the first n, once the transaction is committed. Nothing may be written after it.
func (p *Pages) Truncate(n uint32) error { return p.run(n+1, Param{}) }

func (p *Pages) run(number uint32, data Param) error {
	defer p.write.Reset()
	if err := p.write.Bind([]Param{{Kind: Number, Number: float64(number)}, data}); err != nil {
		return err
	}
	_, err := p.write.Step()
	return err
}
