package workerd

import (
	"encoding/binary"
	"fmt"
	"strings"

	"atoll.dev/atoll/internal/fault"
)

// This file writes Cap'n Proto messages of one segment, as https://capnproto.org/encoding.html describes them.
//
// An encoder runs twice over the same values: once against a message without a buffer, which only counts words, and once
// against one whose buffer has exactly that size. So a module of 64 MB is copied once and nothing grows on the way.

const (
	wordSize = 8

	// A pointer reaches 2^29 words ahead, so a segment no longer than that is always within reach.
	maxWords = 1<<29 - 1
	// A list of bytes, a text's closing NUL included, has a length of 29 bits.
	maxBytes = 1<<29 - 1
)

// layout is the size of a struct's data section and of its pointer section, in words.
type layout struct{ data, ptrs int }

func (l layout) words() int { return l.data + l.ptrs }

// size is the layout as pointers and list tags hold it.
func (l layout) size() uint32 { return uint32(l.data) | uint32(l.ptrs)<<16 }

// message is a segment under construction, after its 8-byte segment table.
type message struct {
	buf   []byte // nil while measuring
	next  int    // the first free word
	depth int    // of wrapped bindings
	at    string // what is being encoded, for err
	err   error  // the first failure
}

// build returns the message whose root is the struct that encode fills in.
func build(root layout, encode func(object)) ([]byte, error) {
	var m message
	m.run(root, encode)
	if m.err == nil && m.next > maxWords {
		m.failf("the configuration is larger than 4 GiB")
	}
	if m.err != nil {
		return nil, m.err
	}
	words := m.next
	m = message{buf: make([]byte, wordSize*(1+words))}
	binary.LittleEndian.PutUint32(m.buf[4:], uint32(words)) // segment count less one is 0
	m.run(root, encode)
	if m.err == nil && m.next != words {
		m.failf("the configuration was changed while it was being encoded")
	}
	return m.buf, m.err
}

func (m *message) run(root layout, encode func(object)) {
	start := object{m: m, ptrs: m.alloc(1)}
	encode(start.child(0, root))
}

// alloc reserves words at the segment's end, zero as the buffer is.
func (m *message) alloc(words int) int {
	at := m.next
	m.next += words
	return at
}

func (m *message) failf(format string, args ...any) {
	if m.err != nil {
		return
	}
	text := fmt.Sprintf(format, args...)
	if m.at != "" {
		text = m.at + ": " + text
	}
	m.err = fault.New(fault.Invalid, 10021, text)
}

// bytes returns the segment from a word on, or nil while measuring.
func (m *message) bytes(word int) []byte {
	if m.buf == nil || m.err != nil {
		return nil
	}
	return m.buf[wordSize*(1+word):]
}

// point fills the pointer at word with one to target. kind is 0 for a struct and 1 for a list, size the upper half.
func (m *message) point(word, target int, kind, size uint32) {
	if b := m.bytes(word); b != nil {
		binary.LittleEndian.PutUint32(b, uint32(int32(target-word-1))<<2|kind)
		binary.LittleEndian.PutUint32(b[4:], size)
	}
}

// object is a struct's place in a message: the first words of its two sections.
type object struct {
	m          *message
	data, ptrs int
}

// put writes a 16-bit field, an enum or a union's tag, at a byte of the data section.
func (o object) put(offset int, v uint16) {
	if b := o.m.bytes(o.data); b != nil {
		binary.LittleEndian.PutUint16(b[offset:], v)
	}
}

// flag sets one bit of the data section where v is true.
func (o object) flag(bit int, v bool) {
	if b := o.m.bytes(o.data); b != nil && v {
		b[bit/8] |= 1 << (bit % 8)
	}
}

// child makes a struct and has pointer ptr refer to it.
func (o object) child(ptr int, l layout) object {
	at := o.m.alloc(l.words())
	o.m.point(o.ptrs+ptr, at, 0, l.size())
	return object{o.m, at, at + l.data}
}

// list makes n structs in a row, each filled in by encode, which may say in message.at what it is filling in. Without
// any, the pointer stays null.
func (o object) list(ptr, n int, l layout, encode func(i int, e object)) {
	if n == 0 {
		return
	}
	m := o.m
	words := n * l.words()
	tag := m.alloc(1 + words)
	m.point(o.ptrs+ptr, tag, 1, uint32(words)<<3|7)
	if b := m.bytes(tag); b != nil {
		binary.LittleEndian.PutUint32(b, uint32(n)<<2)
		binary.LittleEndian.PutUint32(b[4:], l.size())
	}
	outer := m.at
	for i := range n {
		at := tag + 1 + i*l.words()
		encode(i, object{m, at, at + l.data})
		m.at = outer
	}
}

// texts makes a list of texts. A nil list leaves the pointer null, which is the field's default; an empty one does not.
func (o object) texts(ptr int, list []string) {
	if list == nil {
		return
	}
	first := o.m.alloc(len(list))
	o.m.point(o.ptrs+ptr, first, 1, uint32(len(list))<<3|6)
	for i, s := range list {
		object{m: o.m, ptrs: first}.text(i, s)
	}
}

// enums makes a list of 16-bit values.
func (o object) enums(ptr int, list []uint16) {
	first := o.m.alloc((2*len(list) + wordSize - 1) / wordSize)
	o.m.point(o.ptrs+ptr, first, 1, uint32(len(list))<<3|3)
	for i, v := range list {
		object{m: o.m, data: first}.put(2*i, v)
	}
}

// text writes a name or an option. The empty text leaves the pointer null, which is the field's default.
func (o object) text(ptr int, s string) {
	o.m.refuseNUL(s)
	if s != "" {
		putText(o, ptr, s)
	}
}

// refuseNUL fails where s, which the engine may hand to C functions or to its log, would be cut short there.
func (m *message) refuseNUL(s string) {
	if i := strings.IndexByte(s, 0); i >= 0 {
		m.failf("a NUL byte in %q", s)
	}
}

// putText writes a text whole, also where it is empty or holds NUL bytes: the source of a module, the value of a binding.
func putText[T ~string | ~[]byte](o object, ptr int, s T) { putBytes(o, ptr, s, 1) }

// putBytes writes a list of the bytes of s and of as many zeros as tail says.
func putBytes[T ~string | ~[]byte](o object, ptr int, s T, tail int) {
	n := len(s) + tail
	if n > maxBytes {
		o.m.failf("%d bytes, more than the %d that can be passed to workerd", len(s), maxBytes-1)
		return
	}
	at := o.m.alloc((n + wordSize - 1) / wordSize)
	o.m.point(o.ptrs+ptr, at, 1, uint32(n)<<3|2)
	if b := o.m.bytes(at); b != nil {
		copy(b, s)
	}
}
