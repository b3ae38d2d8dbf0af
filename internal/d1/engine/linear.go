package engine

import (
	"bytes"
	"errors"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// linear replaces the functions of SQLite that take quadratic time, which nothing can interrupt: instr('aaa...', 'aaa...b')
// of two megabytes would keep a core busy for hours. https://sqlite.org/lang_corefunc.html says what they do.
func (c *Conn) linear() error {
	return errors.Join(
		c.define("instr", 2, callback(instr)),
		c.define("replace", 3, callback(replace)),
		c.define("trim", 1, callback(trim)), c.define("trim", 2, callback(trim)),
		c.define("ltrim", 1, callback(ltrim)), c.define("ltrim", 2, callback(ltrim)),
		c.define("rtrim", 1, callback(rtrim)), c.define("rtrim", 2, callback(rtrim)),
	)
}

func (c *Conn) define(name string, args int32, f uintptr) error {
	zname := c.text.of(c.tls, append([]byte(name), 0))
	const flags = sqlite3.SQLITE_UTF8 | sqlite3.SQLITE_DETERMINISTIC | sqlite3.SQLITE_INNOCUOUS
	if rc := sqlite3.Xsqlite3_create_function_v2(c.tls, c.db, zname, args, flags, 0, f, 0, 0, 0); rc != sqlite3.SQLITE_OK {
		return c.fail(rc)
	}
	return nil
}

// args are the arguments of a call.
type args struct {
	tls  *libc.TLS
	ctx  uintptr
	argv uintptr
}

func (a args) value(i int) uintptr {
	return *at[uintptr](a.argv + uintptr(i)*unsafe.Sizeof(uintptr(0)))
}

func (a args) typeOf(i int) int32 { return sqlite3.Xsqlite3_value_type(a.tls, a.value(i)) }

// text returns an argument as text; ok is false where it is NULL, and where there is no memory.
func (a args) text(i int) (b []byte, ok bool) {
	v := a.value(i)
	p := sqlite3.Xsqlite3_value_text(a.tls, v)
	if p == 0 {
		return nil, false
	}
	return unsafe.Slice(at[byte](p), sqlite3.Xsqlite3_value_bytes(a.tls, v)), true
}

func (a args) blob(i int) []byte {
	v := a.value(i)
	p := sqlite3.Xsqlite3_value_blob(a.tls, v)
	if p == 0 {
		return nil
	}
	return unsafe.Slice(at[byte](p), sqlite3.Xsqlite3_value_bytes(a.tls, v))
}

// answer returns text, which SQLite copies.
func (a args) answer(b []byte) {
	p := libc.Xmalloc(a.tls, libc.Tsize_t(len(b)+1))
	if p == 0 {
		sqlite3.Xsqlite3_result_error_nomem(a.tls, a.ctx)
		return
	}
	defer libc.Xfree(a.tls, p)
	copy(unsafe.Slice(at[byte](p), len(b)+1), b)
	sqlite3.Xsqlite3_result_text64(a.tls, a.ctx, p, uint64(len(b)), transient, sqlite3.SQLITE_UTF8)
}

func instr(tls *libc.TLS, ctx uintptr, _ int32, argv uintptr) {
	a := args{tls, ctx, argv}
	if a.typeOf(0) == sqlite3.SQLITE_NULL || a.typeOf(1) == sqlite3.SQLITE_NULL {
		return
	}
	var in, what []byte
	chars := a.typeOf(0) != sqlite3.SQLITE_BLOB || a.typeOf(1) != sqlite3.SQLITE_BLOB
	if chars {
		var ok, ok2 bool
		in, ok = a.text(0)
		what, ok2 = a.text(1)
		if !ok || !ok2 {
			return
		}
	} else {
		in, what = a.blob(0), a.blob(1)
	}
	sqlite3.Xsqlite3_result_int64(tls, ctx, position(in, what, chars))
}

// position counts characters, or bytes, from 1; 0 says that there is no such place.
func position(in, what []byte, chars bool) int64 {
	i := bytes.Index(in, what)
	for from := i; chars && i > 0 && continues(in[i]); i += from { // not in the middle of a character
		from = i + 1
		if i = bytes.Index(in[from:], what); i < 0 {
			break
		}
	}
	if i < 0 {
		return 0
	}
	if !chars {
		return int64(i) + 1
	}
	n := int64(1)
	for j := 1; j <= i; j++ {
		if j == len(in) || !continues(in[j]) {
			n++
		}
	}
	return n
}

func continues(b byte) bool { return b&0xc0 == 0x80 }

func replace(tls *libc.TLS, ctx uintptr, _ int32, argv uintptr) {
	a := args{tls, ctx, argv}
	in, ok := a.text(0)
	if !ok {
		return
	}
	what, ok := a.text(1)
	if !ok {
		return
	}
	if len(what) == 0 || what[0] == 0 {
		sqlite3.Xsqlite3_result_value(tls, ctx, a.value(0))
		return
	}
	by, ok := a.text(2)
	if !ok {
		return
	}
	if size := len(in) + bytes.Count(in, what)*(len(by)-len(what)); size > MaxValue {
		sqlite3.Xsqlite3_result_error_toobig(tls, ctx)
		return
	}
	a.answer(bytes.ReplaceAll(in, what, by))
}

func trim(tls *libc.TLS, ctx uintptr, n int32, argv uintptr) {
	args{tls, ctx, argv}.trim(n, true, true)
}
func ltrim(tls *libc.TLS, ctx uintptr, n int32, argv uintptr) {
	args{tls, ctx, argv}.trim(n, true, false)
}
func rtrim(tls *libc.TLS, ctx uintptr, n int32, argv uintptr) {
	args{tls, ctx, argv}.trim(n, false, true)
}

func (a args) trim(n int32, left, right bool) {
	in, ok := a.text(0)
	if !ok {
		return
	}
	cut := []byte(" ")
	if n == 2 {
		if cut, ok = a.text(1); !ok {
			return
		}
	}
	a.answer(trimmed(in, cut, left, right))
}

// maxChar is how many bytes a character may have.
const maxChar = 4

// trimmed takes the characters of a set off the ends of a text.
func trimmed(in, cut []byte, left, right bool) []byte {
	set := map[string]bool{}
	for len(cut) > 0 {
		n := 1
		for cut[0] >= 0xc0 && n < len(cut) && n < maxChar && continues(cut[n]) {
			n++
		}
		set[string(cut[:n])] = true
		cut = cut[n:]
	}
	head := func() int {
		for n := min(maxChar, len(in)); n > 0; n-- {
			if set[string(in[:n])] {
				return n
			}
		}
		return 0
	}
	tail := func() int {
		for n := min(maxChar, len(in)); n > 0; n-- {
			if set[string(in[len(in)-n:])] {
				return n
			}
		}
		return 0
	}
	for n := head(); left && n > 0; n = head() {
		in = in[n:]
	}
	for n := tail(); right && n > 0; n = tail() {
		in = in[:len(in)-n]
	}
	return in
}
