package probe

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// DNS is a DNS server, on UDP and TCP, that knows only what the checks make known to it
// and remembers what it was asked. Whoever can ask it learns nothing else.
type DNS struct {
	udp  net.PacketConn
	tcp  net.Listener
	done sync.WaitGroup

	mu    sync.Mutex
	zone  map[string]records
	asked []question
	conns map[net.Conn]struct{}
	shut  bool
}

// records is what a name has. The zero value stands for a name that does not exist.
type records struct {
	a, aaaa []netip.Addr
	ptr     string
	empty   bool // it exists without any
	silent  bool // questions about it get no answer
	broken  bool // SERVFAIL
}

// question is one that was asked.
type question struct {
	name string // as it was asked, without the dot at the end
	kind dnsmessage.Type
}

const maxAsked = 100_000 // questions that are remembered

// ListenDNS serves DNS on address, ip:port, until Close. With port 0 it picks one that is
// free for both UDP and TCP.
func ListenDNS(address string) (*DNS, error) {
	for tries := 1; ; tries++ {
		udp, err := net.ListenPacket("udp", address)
		if err != nil {
			return nil, err
		}
		tcp, err := net.Listen("tcp", udp.LocalAddr().String())
		if err == nil {
			d := &DNS{udp: udp, tcp: tcp, zone: make(map[string]records), conns: make(map[net.Conn]struct{})}
			d.done.Add(2)
			go d.serveUDP()
			go d.serveTCP()
			return d, nil
		}
		udp.Close()
		if !strings.HasSuffix(address, ":0") || tries == 100 {
			return nil, err
		}
	}
}

// Addr returns the address that it serves on, ip:port.
func (d *DNS) Addr() string { return d.udp.LocalAddr().String() }

// Close ends it.
func (d *DNS) Close() error {
	d.udp.Close()
	d.tcp.Close()
	d.mu.Lock()
	d.shut = true
	for c := range d.conns {
		c.Close()
	}
	d.mu.Unlock()
	d.done.Wait()
	return nil
}

func (d *DNS) set(name string, r records) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.zone[strings.ToLower(name)] = r
}

// seen returns the questions whose name contains part.
func (d *DNS) seen(part string) []question {
	d.mu.Lock()
	defer d.mu.Unlock()
	var found []question
	for _, q := range d.asked {
		if strings.Contains(strings.ToLower(q.name), strings.ToLower(part)) {
			found = append(found, q)
		}
	}
	return found
}

func (d *DNS) serveUDP() {
	defer d.done.Done()
	buf := make([]byte, 4096)
	for {
		n, from, err := d.udp.ReadFrom(buf)
		if err != nil {
			return
		}
		if b := d.answer(buf[:n]); b != nil {
			d.udp.WriteTo(b, from)
		}
	}
}

func (d *DNS) serveTCP() {
	defer d.done.Done()
	for {
		c, err := d.tcp.Accept()
		if err != nil {
			return
		}
		d.mu.Lock()
		if d.shut {
			c.Close()
		}
		d.conns[c] = struct{}{}
		d.mu.Unlock()
		d.done.Add(1)
		go d.serveConn(c)
	}
}

func (d *DNS) serveConn(c net.Conn) {
	defer d.done.Done()
	defer func() {
		c.Close()
		d.mu.Lock()
		delete(d.conns, c)
		d.mu.Unlock()
	}()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	for size := make([]byte, 2); ; {
		if _, err := io.ReadFull(c, size); err != nil {
			return
		}
		q := make([]byte, binary.BigEndian.Uint16(size))
		if _, err := io.ReadFull(c, q); err != nil {
			return
		}
		b := d.answer(q)
		if b == nil {
			continue
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)); err != nil {
			return
		}
	}
}

// answer returns the answer to a message; nil if there is none.
func (d *DNS) answer(msg []byte) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(msg)
	if err != nil || h.Response {
		return nil
	}
	q, err := p.Question()
	if err != nil {
		return nil
	}
	r, known := d.look(q)
	if r.silent {
		return nil
	}
	reply := dnsmessage.Header{ID: h.ID, Response: true, Authoritative: true, RecursionDesired: h.RecursionDesired, RecursionAvailable: true}
	switch {
	case r.broken:
		reply.RCode = dnsmessage.RCodeServerFailure
	case !known:
		reply.RCode = dnsmessage.RCodeNameError
	}
	b := dnsmessage.NewBuilder(nil, reply)
	if b.StartQuestions() != nil || b.Question(q) != nil || b.StartAnswers() != nil {
		return nil
	}
	r.answer(&b, q)
	out, err := b.Finish()
	if err != nil {
		return nil
	}
	return out
}

// look remembers the question and returns what there is.
func (d *DNS) look(q dnsmessage.Question) (records, bool) {
	name := strings.TrimSuffix(q.Name.String(), ".")
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.asked) < maxAsked {
		d.asked = append(d.asked, question{name, q.Type})
	}
	r := d.zone[strings.ToLower(name)]
	known := r.empty || r.ptr != "" || len(r.a)+len(r.aaaa) > 0
	return r, known
}

func (r records) answer(b *dnsmessage.Builder, q dnsmessage.Question) {
	h := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60}
	switch q.Type {
	case dnsmessage.TypeA:
		for _, ip := range r.a {
			b.AResource(h, dnsmessage.AResource{A: ip.As4()})
		}
	case dnsmessage.TypeAAAA:
		for _, ip := range r.aaaa {
			b.AAAAResource(h, dnsmessage.AAAAResource{AAAA: ip.As16()})
		}
	case dnsmessage.TypePTR:
		if name, err := dnsmessage.NewName(r.ptr + "."); err == nil && r.ptr != "" {
			b.PTRResource(h, dnsmessage.PTRResource{PTR: name})
		}
	}
}

// reverse returns the name under which the DNS keeps the name of an address.
func reverse(ip netip.Addr) string {
	const digits = "0123456789abcdef"
	var out []string
	b := ip.AsSlice()
	for i := len(b) - 1; i >= 0; i-- {
		if ip.Is4() {
			out = append(out, netip.AddrFrom4([4]byte{0, 0, 0, b[i]}).String()[6:])
			continue
		}
		out = append(out, digits[b[i]&15:][:1], digits[b[i]>>4:][:1])
	}
	if ip.Is4() {
		return strings.Join(out, ".") + ".in-addr.arpa"
	}
	return strings.Join(out, ".") + ".ip6.arpa"
}
