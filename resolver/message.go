package resolver

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	maxUDP      = 1232 // RFC 6891 section 6.2.5 as the DNS flag day of 2020 set it: no fragments
	maxChain    = 16   // CNAME records followed in one answer
	maxRecords  = 128  // addresses or names kept of one answer
	paddingUnit = 128  // RFC 8467 section 4.1
	headerSize  = 12

	maxTTL      = 24 * time.Hour
	maxNegative = 5 * time.Minute  // RFC 2308 section 5 allows up to three hours
	bareTTL     = 30 * time.Second // of a negative answer without an SOA record
	failureTTL  = 5 * time.Second  // RFC 9520 section 3.2: at least 1 s
)

// Type is the type of the records that a question asks for.
type Type = dnsmessage.Type

// The types that [View.Lookup] knows.
const (
	A    = dnsmessage.TypeA
	AAAA = dnsmessage.TypeAAAA
	PTR  = dnsmessage.TypePTR
)

// question is what one message asks. Its name is canonical.
type question struct {
	name  string
	typ   Type
	whole bool // the answer is kept as a message
}

// Errors of answers that do not belong to the question, or are no answers at all.
var (
	errNotAnswer = errors.New("not an answer to the question")
	errMalformed = errors.New("malformed answer")
	errReferral  = errors.New("the server does not ask others, and referred to them")
)

// RCodeError is wrapped by the error of a lookup that a server failed: the code of its answer
// (RFC 1035 section 4.1.1).
type RCodeError dnsmessage.RCode

func (e RCodeError) Error() string {
	switch dnsmessage.RCode(e) {
	case dnsmessage.RCodeServerFailure:
		return "server failure (SERVFAIL)"
	case dnsmessage.RCodeRefused:
		return "the server refused the question (REFUSED)"
	case dnsmessage.RCodeFormatError:
		return "the server did not understand the question (FORMERR)"
	case dnsmessage.RCodeNotImplemented:
		return "the server does not implement the question (NOTIMP)"
	}
	return fmt.Sprintf("the server answered with code %d", uint16(e))
}

// canonical returns the form of a name that is asked and cached: lower case, without the
// dot at its end. It reports false for what no DNS message can ask for: RFC 1035 section
// 2.3.4.
func canonical(name string) (string, bool) {
	name = strings.TrimSuffix(name, ".")
	if name == "" || len(name) > 253 {
		return "", false
	}
	upper, label := false, 0
	for i := range len(name) {
		switch c := name[i]; {
		case c == '.':
			if label == 0 {
				return "", false
			}
			label = 0
			continue
		case 'A' <= c && c <= 'Z':
			upper = true
		case c <= ' ' || c == 0x7f:
			return "", false
		}
		if label++; label > 63 {
			return "", false
		}
	}
	if label == 0 {
		return "", false
	}
	if upper {
		name = lower(name)
	}
	return name, true
}

// lower folds the case of ASCII letters alone, as RFC 4343 section 3 has it.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// appendQuery returns the message that asks q, with the ID 0. The options of EDNS
// (RFC 6891) are left out for servers that do not take them. Padding (RFC 7830) hides the
// length of the name on an encrypted transport.
func appendQuery(q question, edns, pad bool) ([]byte, error) {
	name, err := dnsmessage.NewName(q.name + ".")
	if err != nil {
		return nil, err
	}
	b := dnsmessage.NewBuilder(make([]byte, 0, 2*paddingUnit), dnsmessage.Header{RecursionDesired: true})
	if err := b.StartQuestions(); err != nil {
		return nil, err
	}
	if err := b.Question(dnsmessage.Question{Name: name, Type: q.typ, Class: dnsmessage.ClassINET}); err != nil {
		return nil, err
	}
	if !edns {
		return b.Finish()
	}
	if err := b.StartAdditionals(); err != nil {
		return nil, err
	}
	var h dnsmessage.ResourceHeader
	if err := h.SetEDNS0(maxUDP, dnsmessage.RCodeSuccess, false); err != nil {
		return nil, err
	}
	var opt dnsmessage.OPTResource
	if pad {
		const fixed = headerSize + 4 + 11 + 4 // question's type and class, OPT record, option's head
		size := fixed + len(q.name) + 2       // of the root 1: one byte more of padding is no matter
		opt.Options = []dnsmessage.Option{{
			Code: 12,
			Data: make([]byte, (paddingUnit-size%paddingUnit)%paddingUnit),
		}}
	}
	if err := b.OPTResource(h, opt); err != nil {
		return nil, err
	}
	return b.Finish()
}

// records are what an answer says, and for how long.
type records struct {
	addrs []netip.Addr
	names []string
	ttl   time.Duration
	wire  []byte // of a question whose answer is kept whole
	found bool   // wire has records of the type asked for
	// noName: the name does not exist (NXDOMAIN). Without it, and without addresses and
	// names, the name exists but has no such record (NODATA).
	noName bool
}

func (r *records) empty() bool { return len(r.addrs) == 0 && len(r.names) == 0 && !r.found }

// parseAnswer reads a message that answers q. truncated: the rest is to be had over TCP.
// The error is errNotAnswer for what another message may still answer, a RCodeError, or
// one that wraps errMalformed.
func parseAnswer(msg []byte, q question) (r records, truncated bool, err error) {
	var p dnsmessage.Parser
	h, err := p.Start(msg)
	if err != nil || !h.Response || h.OpCode != 0 {
		return r, false, errNotAnswer
	}
	if !asks(&p, q) {
		// A server that could not read the question may send its header alone.
		if h.RCode == dnsmessage.RCodeFormatError && len(msg) == headerSize {
			return r, false, RCodeError(h.RCode)
		}
		return r, false, errNotAnswer
	}
	switch {
	case h.RCode != dnsmessage.RCodeSuccess && h.RCode != dnsmessage.RCodeNameError:
		return r, false, RCodeError(h.RCode)
	case h.Truncated:
		return r, true, nil
	}
	if q.whole {
		err = r.keepWhole(msg, q)
	} else {
		err = r.readAnswers(&p, q)
	}
	if err != nil {
		return records{}, false, fmt.Errorf("%w: %w", errMalformed, err)
	}
	if r.empty() {
		r.noName = h.RCode == dnsmessage.RCodeNameError
		ttl, referral, err := negativeTTL(&p)
		if err != nil {
			return records{}, false, fmt.Errorf("%w: %w", errMalformed, err)
		}
		if referral && !r.noName && !h.Authoritative && !h.RecursionAvailable {
			return records{}, false, errReferral
		}
		r.ttl = min(r.ttl, ttl) // of the aliases that led to nothing: RFC 2308 section 2.1
	}
	return r, false, nil
}

// asks reports whether the message's only question is q.
func asks(p *dnsmessage.Parser, q question) bool {
	got, err := p.Question()
	if err != nil || got.Type != q.typ || got.Class != dnsmessage.ClassINET {
		return false
	}
	if !sameName(got.Name, q.name) {
		return false
	}
	_, err = p.Question()
	return errors.Is(err, dnsmessage.ErrSectionDone)
}

// sameName compares the name of a message, which ends in a dot, with a canonical one.
func sameName(n dnsmessage.Name, name string) bool {
	if name == "" {
		return n.String() == "."
	}
	return int(n.Length) == len(name)+1 && lower(string(n.Data[:len(name)])) == name
}

// record is one of the answer section that matters here.
type record struct {
	owner, target string // canonical; target of a CNAME or PTR
	addr          netip.Addr
	typ           Type
	ttl           time.Duration
}

// readAnswers keeps the records of q's type that q's name, or the end of its chain of
// aliases, owns. Other records of the section are not believed.
func (r *records) readAnswers(p *dnsmessage.Parser, q question) error {
	all, err := answers(p, q.typ)
	if err != nil {
		return err
	}
	name, ttl := q.name, maxTTL
	for range maxChain {
		i := indexRecord(all, name, dnsmessage.TypeCNAME)
		if i < 0 || q.typ == dnsmessage.TypeCNAME {
			break
		}
		name, ttl = all[i].target, min(ttl, all[i].ttl)
		if name == q.name {
			break // a loop leads to nothing
		}
	}
	for _, a := range all {
		if a.typ != q.typ || a.owner != name || len(r.addrs)+len(r.names) == maxRecords {
			continue
		}
		ttl = min(ttl, a.ttl)
		if a.typ == PTR {
			r.names = append(r.names, a.target)
		} else {
			r.addrs = append(r.addrs, a.addr)
		}
	}
	r.ttl = ttl
	return nil
}

func indexRecord(all []record, owner string, typ Type) int {
	for i := range all {
		if all[i].typ == typ && all[i].owner == owner {
			return i
		}
	}
	return -1
}

// answers reads the aliases, and the records of one type, of the answer section.
func answers(p *dnsmessage.Parser, typ Type) ([]record, error) {
	var all []record
	for {
		h, err := p.AnswerHeader()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		if h.Class != dnsmessage.ClassINET || h.Type != typ && h.Type != dnsmessage.TypeCNAME || len(all) == 4*maxRecords {
			if err := p.SkipAnswer(); err != nil {
				return nil, err
			}
			continue
		}
		a := record{owner: nameOf(h.Name), typ: h.Type, ttl: duration(h.TTL)}
		switch h.Type {
		case A:
			body, err := p.AResource()
			if err != nil {
				return nil, err
			}
			a.addr = netip.AddrFrom4(body.A)
		case AAAA:
			body, err := p.AAAAResource()
			if err != nil {
				return nil, err
			}
			a.addr = netip.AddrFrom16(body.AAAA).Unmap() // or ::ffff:0.0.0.0 would not be judged as 0.0.0.0
		case PTR:
			body, err := p.PTRResource()
			if err != nil {
				return nil, err
			}
			a.target = nameOf(body.PTR)
		case dnsmessage.TypeCNAME:
			body, err := p.CNAMEResource()
			if err != nil {
				return nil, err
			}
			a.target = nameOf(body.CNAME)
		default:
			if err := p.SkipAnswer(); err != nil {
				return nil, err
			}
			continue
		}
		all = append(all, a)
	}
}

// negativeTTL returns for how long the absence of a record holds (RFC 2308 section 5), and
// whether the answer names other servers in place of that (section 2.2.1, REFERRAL RESPONSE).
func negativeTTL(p *dnsmessage.Parser) (ttl time.Duration, referral bool, err error) {
	if err := p.SkipAllAnswers(); err != nil {
		return 0, false, err
	}
	for {
		h, err := p.AuthorityHeader()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			return bareTTL, referral, nil
		}
		if err != nil {
			return 0, false, err
		}
		if h.Type != dnsmessage.TypeSOA {
			referral = referral || h.Type == dnsmessage.TypeNS
			if err := p.SkipAuthority(); err != nil {
				return 0, false, err
			}
			continue
		}
		soa, err := p.SOAResource()
		if err != nil {
			return 0, false, err
		}
		return min(duration(h.TTL), duration(soa.MinTTL), maxNegative), false, nil
	}
}

// duration is a TTL. One with the highest bit set counts as 0: RFC 2181 section 8.
func duration(seconds uint32) time.Duration {
	if seconds > 1<<31-1 {
		return 0
	}
	return min(time.Duration(seconds)*time.Second, maxTTL)
}

func nameOf(n dnsmessage.Name) string {
	return lower(strings.TrimSuffix(n.String(), "."))
}

// reverseName is the name that owns the PTR record of an address: RFC 1035 section 3.5,
// RFC 3596 section 2.5.
func reverseName(ip netip.Addr) string {
	ip = ip.Unmap()
	if ip.Is4() {
		b := ip.As4()
		return fmt.Sprintf("%d.%d.%d.%d.in-addr.arpa", b[3], b[2], b[1], b[0])
	}
	const hex = "0123456789abcdef"
	b := ip.As16()
	out := make([]byte, 0, 72)
	for i := len(b) - 1; i >= 0; i-- {
		out = append(out, hex[b[i]&15], '.', hex[b[i]>>4], '.')
	}
	return string(out) + "ip6.arpa"
}
