package tornet

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"net/url"
	"os"
	"strings"
	"time"
)

const servicePorts = 1

// makeService makes the daemon that will have the onion service.
func (n *Network) makeService() error {
	d := n.newDaemon("onion", servicePorts)
	if err := n.furnish(d, "SocksPort 0\nCookieAuthentication 1\nControlPort "+d.address(0)+"\n"); err != nil {
		return err
	}
	n.service = d
	return nil
}

// openService publishes the onion service and sees it work.
func (n *Network) openService(ctx context.Context) error {
	onion, err := n.service.publish(ctx, n.Web)
	if err != nil {
		return fmt.Errorf("%s: publish the onion service: %w; %s", n.service.name, withCause(ctx, err), n.service.logEnd())
	}
	n.Onion = onion
	if len(n.Clients) == 0 {
		return nil
	}
	c := n.Clients[0]
	if err := reach(ctx, c.SOCKS, onion); err != nil {
		return fmt.Errorf("%s: fetch a page of the onion service: %w; %s", c.daemon.name, withCause(ctx, err), c.daemon.logEnd())
	}
	return nil
}

// publish makes the daemon serve an onion service whose port 80 is target, and
// returns its name when its descriptor has been sent to the directories.
func (d *daemon) publish(ctx context.Context, target netip.AddrPort) (string, error) {
	cookie, err := os.ReadFile(d.cookie())
	if err != nil {
		return "", err
	}
	var dialer net.Dialer
	raw, err := dialer.DialContext(ctx, "tcp", d.address(0))
	if err != nil {
		return "", err
	}
	defer raw.Close()
	defer context.AfterFunc(ctx, func() { raw.SetDeadline(time.Unix(1, 0)) })()
	conn := textproto.NewConn(raw)
	var reply string
	for _, command := range []string{
		"AUTHENTICATE " + hex.EncodeToString(cookie),
		"SETEVENTS HS_DESC",
		fmt.Sprintf("ADD_ONION NEW:ED25519-V3 Flags=DiscardPK,Detach Port=80,%s", target),
	} {
		if err := conn.PrintfLine("%s", command); err != nil {
			return "", err
		}
		if _, reply, err = conn.ReadResponse(250); err != nil {
			return "", err
		}
	}
	id, _, _ := strings.Cut(strings.TrimPrefix(reply, "ServiceID="), "\n")
	return id + ".onion", awaitUploads(conn)
}

// awaitUploads reads events until as many uploads of a descriptor have ended as
// began; tor begins all before one ends. One that failed is not the end: other
// directories have the descriptor.
func awaitUploads(events *textproto.Conn) error {
	open := 0
	for {
		line, err := events.ReadLine()
		if err != nil {
			return err
		}
		switch {
		case strings.HasPrefix(line, "650 HS_DESC UPLOAD "):
			open++
		case strings.HasPrefix(line, "650 HS_DESC UPLOADED "), strings.HasPrefix(line, "650 HS_DESC FAILED "):
			if open--; open == 0 {
				return nil
			}
		}
	}
}

// reach fetches a page of the onion service through a SOCKS port, again and
// again until it succeeds: a client that looked for the descriptor too early
// looks again only after seconds.
func reach(ctx context.Context, socks, onion string) error {
	transport := &http.Transport{
		Proxy:             http.ProxyURL(&url.URL{Scheme: "socks5", Host: socks}),
		DisableKeepAlives: true,
	}
	defer transport.CloseIdleConnections()
	again := time.NewTicker(250 * time.Millisecond)
	defer again.Stop()
	for {
		err := fetch(ctx, transport, "http://"+onion+"/", io.Discard)
		if err == nil {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return err
		}
	}
}

// fetch writes a page's body to w.
func fetch(ctx context.Context, transport *http.Transport, page string, w io.Writer) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	if err != nil {
		return err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("get %s: %s", page, response.Status)
	}
	_, err = io.Copy(w, response.Body)
	return err
}

// withCause adds to err why ctx is over, if it is.
func withCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w: %w", cause, err)
	}
	return err
}
