package proxy

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"hosier/socks"
)

// httpAnswer is an answer to a CONNECT that leads nowhere. Clients show the reason phrase
// more often than the body, so that already names what failed: a bare "Service Unavailable"
// reads as if this server were down.
type httpAnswer struct {
	code   int
	phrase string // reason phrase; that of the code if empty
	reason string // of Tor-Request-Failed, as in Tor's proposal 365; none if empty
	text   string // body; the phrase if empty
	header string // further lines, each with its end
}

// The answers to requests that reach no policy.
var (
	answerNoCONNECT = httpAnswer{code: http.StatusMethodNotAllowed, text: "this listener does not serve HTTP CONNECT", header: "Allow: OPTIONS\r\n"}
	answerNoRPC     = httpAnswer{code: http.StatusNotImplemented, phrase: "No RPC Support"}
	answerLogin     = httpAnswer{
		code: http.StatusProxyAuthRequired, text: "this proxy requires a user name and a password, and these are missing or wrong",
		header: "Proxy-Authenticate: Basic realm=\"hosier\"\r\n",
	}
	answerNotClient = httpAnswer{code: http.StatusForbidden, phrase: "Client not allowed", text: "this proxy does not serve clients from your address"}
	answerBadTarget = httpAnswer{
		code: http.StatusBadRequest, phrase: "Invalid target", reason: "end/TORPROTOCOL",
		text: "the target of CONNECT is a host name or an address, a colon and a port from 1 to 65535",
	}
)

// httpAnswers are the answers to the statuses that need no closer look. The codes are those
// that Tor's proposal 365 has for the reason; the phrases say that it is the target, a rule
// or the network that failed, and not this server.
var httpAnswers = map[socks.Status]httpAnswer{
	socks.GeneralFailure:          {code: http.StatusInternalServerError, phrase: "Connection to the target failed", reason: "end/MISC", text: "the connection failed for a reason that the log has"},
	socks.NotAllowed:              {code: http.StatusForbidden, phrase: "Refused by rule", reason: "end/EXITPOLICY", text: "a rule of this proxy, or of one behind it, does not allow this target"},
	socks.NetworkUnreachable:      {code: http.StatusServiceUnavailable, phrase: "Network of the target unreachable", reason: "end/NOROUTE", text: "there is no route to the network of the target"},
	socks.HostUnreachable:         {code: http.StatusServiceUnavailable, phrase: "Target unreachable", reason: "end/NOROUTE", text: "there is no route to the target, or it is down"},
	socks.ConnectionRefused:       {code: http.StatusForbidden, phrase: "Connection refused by the target", reason: "end/CONNECTREFUSED", text: "the target is reachable, but refuses connections to this port"},
	socks.TTLExpired:              {code: http.StatusGatewayTimeout, phrase: "Target timed out", reason: "end/TIMEOUT", text: "the target, or the DNS server that knows its name, did not answer in time"},
	socks.CommandNotSupported:     {code: http.StatusNotImplemented, phrase: "Not supported by the egress", reason: "end/TORPROTOCOL", text: "the egress of this request does not support the command"},
	socks.AddressTypeNotSupported: {code: http.StatusNotImplemented, phrase: "Address type not supported", reason: "end/TORPROTOCOL", text: "the egress of this request does not support this kind of address"},
}

// httpAnswerOf returns the answer to a request that ended with a status for this error.
func httpAnswerOf(r *socks.Request, status socks.Status, err error) httpAnswer {
	a, known := httpAnswers[status.Ordinary()]
	proxy, code := (*socks.ProxyError)(nil), socks.Status(0)
	switch {
	case errors.As(err, &proxy), errors.As(err, &code) && !code.Known(), !known:
		a = httpAnswer{http.StatusBadGateway, "Upstream proxy failed", "end/INTERNAL", "the proxy that this request goes through cannot be reached, or refused to serve", ""}
	case errors.Is(err, ErrFull):
		a = httpAnswer{http.StatusServiceUnavailable, "Too many connections to this proxy", "end/RESOURCELIMIT", "this proxy serves as many connections as it may: try again later", ""}
	case errors.Is(err, ErrLimit):
		a = httpAnswer{http.StatusTooManyRequests, "", "end/RESOURCELIMIT", "this client or user has reached its limit: try again later", ""}
	case status == socks.OnionBadAddress || errors.Is(err, socks.OnionBadAddress):
		a = answerBadTarget
		a.phrase, a.text = "Malformed onion address", "this is not a valid .onion address: one character or more of it is wrong or missing"
	case status.Ordinary() == socks.HostUnreachable && (r.Addr.Name != "" || status.Extended()):
		a.reason = "end/RESOLVEFAILED"
		a.phrase, a.text = unreachable(r, err)
	}
	if a.reason != "" && status.Extended() {
		a.reason += fmt.Sprintf(" socks/%X", byte(status))
	}
	return a
}

// answerRefused is the answer to an HTTP client that is refused whatever it wants.
func (m *mixed) answerRefused() httpAnswer {
	if errors.Is(m.refusal, ErrFull) || errors.Is(m.refusal, ErrLimit) {
		return httpAnswerOf(&socks.Request{}, socks.GeneralFailure, m.refusal)
	}
	return answerNotClient
}

// answerLoginOf is the answer to a login that Verify refused with err.
func answerLoginOf(err error) httpAnswer {
	later, ok := errors.AsType[*LaterError](err)
	if !ok {
		return answerLogin
	}
	a := httpAnswer{code: http.StatusTooManyRequests, text: "logins of this client are not judged for a while, after wrong ones: try again later"}
	if errors.Is(err, ErrFull) {
		a = httpAnswer{code: http.StatusServiceUnavailable, phrase: "Too many logins at once", text: "others log in to this proxy as well: try again later"}
	}
	seconds := max(1, int64((later.After+time.Second-1)/time.Second))
	a.header = fmt.Sprintf("Retry-After: %d\r\n", seconds)
	return a
}

// unreachable words code 04 for a name. Whether the name or the host is missing is known only
// where this host looked it up.
func unreachable(r *socks.Request, err error) (phrase, text string) {
	dns, family, onion := (*net.DNSError)(nil), (*net.AddrError)(nil), socks.Succeeded
	switch {
	case r.Addr.IsOnion(), errors.As(err, &onion) && onion.Extended():
		return "Onion service not found", "the onion service was not found or is down, or the egress of this request is not Tor"
	case errors.As(err, &dns) && !dns.IsNotFound:
		return "Name lookup failed", "the DNS server failed to look the name up"
	case errors.As(err, &dns), errors.As(err, &family):
		return "Name not found", "the name does not exist, or has no address that can be used"
	case errors.Is(err, socks.HostUnreachable):
		return "Name not found or host unreachable", "the name was not found where the egress looks it up, or its host is unreachable"
	}
	return "Target unreachable", "there is no route to the target, or it is down"
}

// capabilities is Tor's header line of proposal 365, with its end, where this server
// stands for Tor.
func (p *Policy) capabilities() string {
	if p.ExtendedErrors {
		return "Tor-Capabilities:\r\n"
	}
	return ""
}

// appendHTTPReply appends the reply to a CONNECT.
func (p *Policy) appendHTTPReply(b []byte, r *socks.Request, status socks.Status, err error) []byte {
	if status == socks.Succeeded {
		b = append(b, "HTTP/1.1 200 OK\r\nVia: 1.1 hosier\r\n"...)
		b = append(b, p.capabilities()...)
		return append(b, "\r\n"...)
	}
	return p.appendHTTPError(b, httpAnswerOf(r, status, err))
}

func (p *Policy) appendHTTPError(b []byte, a httpAnswer) []byte {
	if a.phrase == "" {
		a.phrase = http.StatusText(a.code)
	}
	if a.text == "" {
		a.text = strings.ToLower(a.phrase)
	}
	if a.reason != "" {
		a.header += "Tor-Request-Failed: " + a.reason + "\r\n"
	}
	a.text = "hosier: " + a.text + "\n"
	return fmt.Appendf(b, "HTTP/1.1 %d %s\r\nVia: 1.1 hosier\r\n%s%s"+
		"Content-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n%s",
		a.code, a.phrase, p.capabilities(), a.header, len(a.text), a.text)
}

// writeHTTPError answers a client whose session ends with the error at hand, whether or
// not the answer arrives.
func (m *mixed) writeHTTPError(a httpAnswer) {
	m.conn.SetWriteDeadline(time.Now().Add(replyTimeout))
	m.conn.Write(m.appendHTTPError(nil, a))
}
