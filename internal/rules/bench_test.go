package rules

import (
	"fmt"
	"testing"
)

// BenchmarkDecide has a thousand rules, of which the last ones match.
func BenchmarkDecide(b *testing.B) {
	for _, world := range []struct{ name, rule, request string }{
		{"names", "to=host%d.example.org via=tor", "connect HOST998.example.org:443"},
		{"suffixes", "to=.host%d.example.org via=tor", "connect a.b.host998.example.org:443"},
		{"addresses", "to=10.0.%d.0/24 via=tor", "connect 10.0.255.7:443"},
		{"users", "user=user%d via=tor", "connect www.example.org:443 user=user998"},
		{"none", "to=host%d.example.org via=tor", "connect www.example.org:443"},
	} {
		b.Run(world.name, func(b *testing.B) {
			spec := Spec{Egresses: kinds, Default: []string{"tor"}}
			for i := range 1000 {
				n := i
				if world.name == "addresses" {
					n = i * 255 / 999
				}
				spec.Rules = append(spec.Rules, rule(b, i+1, fmt.Sprintf(world.rule, n)))
			}
			s, err := New(spec)
			if err != nil {
				b.Fatal(err)
			}
			listener, r := request(b, world.request+" from=192.168.1.7")
			b.ReportAllocs()
			for b.Loop() {
				if d := s.Decide(listener, r); d.Err != nil {
					b.Fatal(d.Err)
				}
			}
		})
	}
}
