package binding

import "testing"

func TestReadAuthority(t *testing.T) {
	for in, want := range map[string]authority{
		"atoll-tcp4-0123456789abcdef-ATL.example.com:80":     {"0123456789abcdef-ATL", false, "example.com:80"},
		"atoll-tls4-0123456789abcdef-ATL.example.com:443":    {"0123456789abcdef-ATL", true, "example.com:443"},
		"atoll-tls4-.127.0.0.1:443":                          {"", true, "127.0.0.1:443"},
		"atoll-tcp6-0123456789abcdef-ATL.2606-4700--1111:80": {"0123456789abcdef-ATL", false, "[2606:4700::1111]:80"},
		"atoll-tls6-x.--1:443":                               {"x", true, "[::1]:443"},
		"example.com:80":                                     {address: "example.com:80"},
		"localhost:80":                                       {address: "localhost:80"},
		"[::1]:80":                                           {address: "[::1]:80"},
		"atoll-tcp.example.com:80":                           {address: "atoll-tcp.example.com:80"},
		"atoll-udp4-x.example.com:80":                        {address: "atoll-udp4-x.example.com:80"},
		"atoll-tcp6-x.example":                               {address: "atoll-tcp6-x.example"},
		"atoll-tcp4-x":                                       {address: "atoll-tcp4-x"},
		"":                                                   {},
	} {
		if got := readAuthority(in); got != want {
			t.Errorf("%q: %+v, want %+v", in, got, want)
		}
	}
}

func FuzzAuthority(f *testing.F) {
	f.Add("atoll-tls6-0123456789abcdef-ATL.2606-4700--1111:80")
	f.Add("a.b:1")
	f.Fuzz(func(t *testing.T, s string) {
		if a := readAuthority(s); a.address == "" && s != "" && a.tag == "" && !a.secure && s[0] != 'a' {
			t.Errorf("%q has no address", s)
		}
	})
}
