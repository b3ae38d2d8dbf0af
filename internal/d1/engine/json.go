package engine

import (
	"math"
	"strconv"
	"unicode/utf8"

	sqlite3 "modernc.org/sqlite/lib"
)

// AppendJSON adds the value as D1 writes it: numbers as JavaScript's, a blob as an array of its bytes.
func (v Value) AppendJSON(b []byte) []byte {
	switch v.Type {
	case sqlite3.SQLITE_INTEGER:
		return appendInt(b, v.Int)
	case sqlite3.SQLITE_FLOAT:
		return appendFloat(b, v.Float)
	case sqlite3.SQLITE_TEXT:
		return AppendString(b, v.Memory)
	case sqlite3.SQLITE_BLOB:
		b = append(b, '[')
		for i, c := range v.Memory {
			if i > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendUint(b, uint64(c), 10)
		}
		return append(b, ']')
	}
	return append(b, "null"...)
}

// appendInt writes an integer as the JavaScript number that a Worker sees, which is exact up to 2^53.
func appendInt(b []byte, n int64) []byte {
	if n > -1<<53 && n < 1<<53 {
		return strconv.AppendInt(b, n, 10)
	}
	return appendFloat(b, float64(n))
}

// appendFloat writes a number as JSON.stringify does (ECMA-262, Number::toString), and what is none as null.
func appendFloat(b []byte, f float64) []byte {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return append(b, "null"...)
	}
	if f == 0 {
		return append(b, '0') // -0 too
	}
	if abs := math.Abs(f); abs >= 1e-6 && abs < 1e21 {
		return strconv.AppendFloat(b, f, 'f', -1, 64)
	}
	b = strconv.AppendFloat(b, f, 'e', -1, 64)
	if n := len(b); n >= 4 && b[n-4] == 'e' && b[n-2] == '0' { // e-09 is e-9 there
		b[n-2] = b[n-1]
		b = b[:n-1]
	}
	return b
}

const hexDigits = "0123456789abcdef"

// AppendString writes text as a JSON string; bytes that are no UTF-8 become U+FFFD.
func AppendString[T string | []byte](b []byte, text T) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(text); {
		c := text[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := decode(text[i:])
			if r != utf8.RuneError || size != 1 {
				i += size
				continue
			}
			b = append(append(b, text[start:i]...), "\uFFFD"...)
			i++
			start = i
			continue
		}
		b = append(b, text[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	return append(append(b, text[start:]...), '"')
}

func decode[T string | []byte](text T) (rune, int) {
	var buf [utf8.UTFMax]byte
	return utf8.DecodeRune(buf[:copy(buf[:], text)])
}
