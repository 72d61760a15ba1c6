package egress

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"

	"hosier/socks"
)

const (
	maxHead    = 8 << 10 // bytes of the answer heads of an HTTP proxy, of all together
	maxInterim = 5       // 1xx answers before the one that counts, as in net/http
	maxWords   = 2 << 10 // bytes of the body of a refusal that are looked at
)

// answerHead is the head of an HTTP answer.
type answerHead struct {
	code   int
	reason string
	header textproto.MIMEHeader
}

// readAnswer reads the answer to a CONNECT, past the 1xx that may come before it. It
// does not look at Content-Length and Transfer-Encoding: a client must ignore them in a
// 2xx (RFC 9110 section 9.3.6), and some proxies send them.
func readAnswer(br *bufio.Reader) (answerHead, error) {
	for range maxInterim + 1 {
		h, err := readAnswerHead(textproto.NewReader(br))
		// 101 would be the end of HTTP on this connection.
		if err != nil || h.code/100 != 1 || h.code == http.StatusSwitchingProtocols {
			return h, err
		}
	}
	return answerHead{}, fmt.Errorf("more than %d interim answers", maxInterim)
}

var errNotHTTP = errors.New("this is not HTTP")

func readAnswerHead(r *textproto.Reader) (h answerHead, err error) {
	line, err := r.ReadLine()
	if err != nil {
		return h, unexpected(err)
	}
	proto, rest, _ := strings.Cut(line, " ")
	code, reason, _ := strings.Cut(strings.TrimLeft(rest, " "), " ")
	if _, _, ok := http.ParseHTTPVersion(proto); !ok || len(code) != 3 {
		return h, errNotHTTP
	}
	if h.code, err = strconv.Atoi(code); err != nil || h.code < 100 {
		return h, errNotHTTP
	}
	h.reason = reason
	if h.header, err = r.ReadMIMEHeader(); err != nil {
		return h, unexpected(err)
	}
	return h, nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// The cause of a refusal is looked for in this order; docs/upstreams.md has the tables,
// and a test compares them:
//
//   - Tor-Request-Failed (Tor's proposal 365),
//   - the error of Proxy-Status (RFC 9209 section 2.3),
//   - X-Squid-Error,
//   - known words in the reason phrase or the body, of a 5xx alone,
//   - the number.

// status returns the status that a refusal comes to. Words returns the begin of the
// body; it is called if the header does not say enough.
func (h *answerHead) status(words func() string) socks.Status {
	if s, ok := torReasons[h.header.Get("Tor-Request-Failed")]; ok {
		return s
	}
	for _, line := range h.header["Proxy-Status"] {
		if s, ok := proxyErrors[proxyError(line)]; ok {
			return s
		}
	}
	if s, ok := squidError(h.header.Get("X-Squid-Error")); ok {
		return s
	}
	switch h.code {
	case http.StatusForbidden, http.StatusMethodNotAllowed:
		return socks.NotAllowed
	case http.StatusNotFound:
		return socks.HostUnreachable
	case http.StatusGatewayTimeout, http.StatusRequestTimeout:
		return socks.TTLExpired
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable:
		if s, ok := statusOfWords(h.reason); ok {
			return s
		}
		if s, ok := statusOfWords(words()); ok {
			return s
		}
		if h.code == http.StatusServiceUnavailable { // Tor's for a name without an answer, and Squid's
			return socks.HostUnreachable
		}
	}
	return socks.GeneralFailure
}

// torReasons are the words of Tor's proposal 365 that say more than the HTTP status.
var torReasons = map[string]socks.Status{
	"end/RESOLVEFAILED":  socks.HostUnreachable,
	"end/NOROUTE":        socks.HostUnreachable,
	"end/CONNECTREFUSED": socks.ConnectionRefused,
	"end/CONNRESET":      socks.ConnectionRefused,
	"end/EXITPOLICY":     socks.NotAllowed,
	"end/ENTRYPOLICY":    socks.NotAllowed,
	"end/TIMEOUT":        socks.TTLExpired,
}

// proxyErrors are the error types of RFC 9209 that say more than the HTTP status.
var proxyErrors = map[string]socks.Status{
	"dns_timeout":               socks.TTLExpired,
	"dns_error":                 socks.HostUnreachable,
	"destination_not_found":     socks.HostUnreachable,
	"destination_unavailable":   socks.HostUnreachable,
	"destination_ip_unroutable": socks.NetworkUnreachable,
	"destination_ip_prohibited": socks.NotAllowed,
	"http_request_denied":       socks.NotAllowed,
	"connection_refused":        socks.ConnectionRefused,
	"connection_terminated":     socks.ConnectionRefused,
	"connection_timeout":        socks.TTLExpired,
	"connection_limit_reached":  socks.GeneralFailure,
	"proxy_configuration_error": socks.GeneralFailure,
	"proxy_internal_error":      socks.GeneralFailure,
	"proxy_loop_detected":       socks.GeneralFailure,
	"connection_read_timeout":   socks.TTLExpired,
	"connection_write_timeout":  socks.TTLExpired,
	"http_response_timeout":     socks.TTLExpired,
	"proxy_internal_response":   socks.GeneralFailure,
}

// proxyError returns the error parameter of a Proxy-Status, "" if there is none.
func proxyError(line string) string {
	for part := range strings.FieldsFuncSeq(line, func(r rune) bool { return r == ';' || r == ',' }) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(part), "error="); ok {
			return strings.Trim(name, `" `)
		}
	}
	return ""
}

// squidError reads a value such as "ERR_CONNECT_FAIL 111", where the number is the errno
// of a Linux.
func squidError(value string) (socks.Status, bool) {
	name, errno, _ := strings.Cut(value, " ")
	switch {
	case name == "ERR_ACCESS_DENIED":
		return socks.NotAllowed, true
	case name == "ERR_DNS_FAIL":
		return socks.HostUnreachable, true
	case name != "ERR_CONNECT_FAIL":
		return 0, false
	case errno == "101":
		return socks.NetworkUnreachable, true
	case errno == "110":
		return socks.TTLExpired, true
	case errno == "111":
		return socks.ConnectionRefused, true
	}
	return socks.HostUnreachable, true
}

// statusOfWords returns what known words of proxies without such headers (3proxy,
// goproxy, tinyproxy, …) come to.
func statusOfWords(text string) (socks.Status, bool) {
	text = strings.ToLower(text)
	for _, w := range words {
		for _, phrase := range w.phrases {
			if strings.Contains(text, phrase) {
				return w.status, true
			}
		}
	}
	return 0, false
}

// words are in the order in which they count.
var words = []struct {
	status  socks.Status
	phrases []string
}{
	// The failure of a proxy behind that one, and what it grants, are not the target's.
	{socks.GeneralFailure, []string{"parent proxy", "upstream proxy", "traffic limit", "recursion detected"}},
	{socks.ConnectionRefused, []string{"connection refused"}},
	{socks.NetworkUnreachable, []string{"network is unreachable", "network unreachable"}},
	{socks.HostUnreachable, []string{
		"host not found", "no such host", "no such domain", "unknown host", "host unknown",
		"name or service not known", "nxdomain", "could not resolve", "cannot resolve", "can't resolve",
		"could not be resolved", "cannot be resolved", "unable to resolve", "dns error", "dns failure",
		"no route to host", "host is unreachable", "host unreachable",
	}},
	{socks.TTLExpired, []string{"timed out", "timeout"}},
	{socks.HostUnreachable, []string{"connection failed", "connect failed", "unable to connect", "could not connect", "cannot connect"}},
}
