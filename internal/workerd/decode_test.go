package workerd_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
)

// A decoded message is a tree of these, without the schema: nil for a null pointer, node for a struct, list for a list of
// structs or of pointers, string for a list of plain values. Zeros at a section's end say nothing in Cap'n Proto, so they
// are dropped, and two messages that mean the same are equal trees whatever the order and the size of their parts.
type (
	node struct {
		Data string
		Ptrs []any
	}
	list []any
)

// decode reads a message as a stream holds it: a table of segments, then the segments.
func decode(t *testing.T, msg []byte) any {
	t.Helper()
	n := int(binary.LittleEndian.Uint32(msg)) + 1
	rest := msg[(4*(n+1)+7)/8*8:]
	m := make(decoder, n)
	for i := range m {
		size := 8 * int(binary.LittleEndian.Uint32(msg[4*(i+1):]))
		m[i], rest = rest[:size], rest[size:]
	}
	if len(rest) != 0 {
		t.Fatalf("%d bytes after the last segment", len(rest))
	}
	return m.pointer(0, 0)
}

// decoder is a message's segments.
type decoder [][]byte

func (m decoder) word(seg, at int) uint64 { return binary.LittleEndian.Uint64(m[seg][8*at:]) }

func (m decoder) pointer(seg, at int) any {
	p := m.word(seg, at)
	if p == 0 {
		return nil
	}
	target := at + 1 + int(int32(p)>>2)
	switch p & 3 {
	case 0:
		return m.structure(seg, target, int(p>>32&0xffff), int(p>>48))
	case 1:
		return m.list(seg, target, p)
	case 2: // far: the pointer is in another segment
		if p&4 != 0 {
			panic("a double far pointer")
		}
		return m.pointer(int(p>>32), int(uint32(p)>>3))
	}
	panic(fmt.Sprintf("pointer %#x", p))
}

func (m decoder) structure(seg, at, data, ptrs int) node {
	n := node{Data: string(bytes.TrimRight(m[seg][8*at:8*(at+data)], "\x00"))}
	for i := range ptrs {
		n.Ptrs = append(n.Ptrs, m.pointer(seg, at+data+i))
	}
	for len(n.Ptrs) > 0 && n.Ptrs[len(n.Ptrs)-1] == nil {
		n.Ptrs = n.Ptrs[:len(n.Ptrs)-1]
	}
	return n
}

func (m decoder) list(seg, at int, p uint64) any {
	count := int(p >> 35)
	switch p >> 32 & 7 {
	case 2:
		return string(m[seg][8*at : 8*at+count])
	case 3:
		return string(m[seg][8*at : 8*at+2*count])
	case 6:
		l := list{}
		for i := range count {
			l = append(l, m.pointer(seg, at+i))
		}
		return l
	case 7:
		tag := m.word(seg, at)
		data, ptrs := int(tag>>32&0xffff), int(tag>>48)
		l := list{}
		for i := range int(uint32(tag) >> 2) {
			l = append(l, m.structure(seg, at+1+i*(data+ptrs), data, ptrs))
		}
		return l
	}
	panic(fmt.Sprintf("list pointer %#x", p))
}
