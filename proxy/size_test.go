package proxy

import (
	"net/netip"
	"testing"
	"unsafe"

	"hosier/socks"
)

// What the server keeps of a connection while its relay stands.
func TestRelayRecordIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(conn{}); n > 128 && unsafe.Sizeof(uintptr(0)) == 8 {
		t.Errorf("the record of a connection has %d bytes", n)
	}
	ses := &Session{
		ID: 1 << 20, Client: netip.MustParseAddrPort("192.0.2.1:50000"), Listener: "127.0.0.1:1080", Rule: "hosier.toml:12", Egress: "direct",
		Request: &socks.Request{Version: socks.V5, Command: socks.Connect, Addr: socks.Addr{Name: "www.example.org", Port: 443}},
	}
	if ps := pack(ses, nil, 1<<30); len(ps.bytes) > 80 {
		t.Errorf("the session has %d bytes", len(ps.bytes))
	}
}
