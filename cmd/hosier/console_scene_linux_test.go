package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"hosier/internal/debiantest"
	"hosier/internal/sockstest"
	"hosier/internal/tornet"
	"hosier/socks"
)

// scene is a hosier in the midst of what a gateway does: programs of this host and users,
// sites beyond two tors and beyond another proxy, what is refused, what fails, who leaks.
type scene struct {
	*consoleHost
	lan  string // its listener for users
	port string // of all sites
}

const sceneConfig = `via = "onions"
dns = "DNS"

[log]
redact = false

[listener.lan]
listen = "LAN"
users = "users"

[egress.onions]
via = "tor+spawn://?daemons=2"
torrc = "network.torrc"

[egress.spare]
via = "tor+spawn://"
torrc = "nowhere.torrc"

[egress.office]
via = "socks5://gateway:hunter2@OFFICE"

[[rule]]
port = [25, "6881-6999"]
refuse = "neither mail nor file sharing"

[[rule]]
to = [".office.example", "192.0.2.0/24"]
via = "office"

[[rule]]
user = "ann"
to = "printer.example"
via = "direct"
`

// siteNames lead to the same server; only those who are asked know that.
var siteNames = []string{
	"www.news.example", "cdn.video.example", "mirror.linux.example", "api.weather.example", "wiki.example",
	"git.office.example", "mail.office.example",
}

func newScene(t *testing.T) *scene {
	t.Helper()
	n, dns := tornet.ForTest(t, tornet.Options{}), sockstest.NewDNS(t)
	dns.Set("printer.example", "127.0.0.9")
	for _, name := range siteNames {
		dns.Set(name, "127.0.0.1")
		n.SetHost(name, netip.MustParseAddr("127.0.0.1"))
	}
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "network.torrc"), n.ClientTorrc())
	// Nobody of that network is where this one looks, so it stays where it begins.
	nowhere := regexp.MustCompile(`orport=\d+`).ReplaceAllString(n.ClientTorrc(), "orport=9")
	writeFile(t, filepath.Join(dir, "nowhere.torrc"), regexp.MustCompile(`127[.\d]+:\d+`).ReplaceAllString(nowhere, "127.0.0.1:9"))
	if err := os.Rename(usersFile(t, "ann", "ben", "build"), filepath.Join(dir, "users")); err != nil {
		t.Fatal(err)
	}
	at := [3]string{"127.0.0.1:0", "127.0.0.2:0", "127.0.0.1:0"}
	if *updateScreenshots {
		at = [3]string{"127.0.0.1:1080", "127.0.0.1:1081", "127.0.0.1:9180"}
	}
	text := strings.NewReplacer("DNS", dns.Addr, "LAN", at[1], "OFFICE", start(t, "--dns", dns.Addr).addr()).Replace(sceneConfig)
	writeFile(t, filepath.Join(dir, "hosier.toml"), text)
	s := &scene{port: startSites(t)}
	s.consoleHost = startWithConsoleUnder(t, []string{"env", "--chdir=" + dir}, "--config", "hosier.toml", "--listen", at[0], "--admin", at[2])
	s.awaitListeners(t, 2)
	s.lan = s.addrs[1]
	s.setUp(t)
	return s
}

// startSites serves every site: the path says how many bytes, and how many a second.
func startSites(t *testing.T) (port string) {
	t.Helper()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var size, speed, wait int
		fmt.Sscanf(r.URL.Path, "/%d/%d/%d", &size, &speed, &wait)
		for sent := 0; sent < size; sent += max(speed/20, 1) {
			select {
			case <-time.After(time.Duration(wait) * time.Millisecond):
			case <-r.Context().Done():
				return
			}
			wait = 50
			if _, err := w.Write(make([]byte, min(max(speed/20, 1), size-sent))); err != nil {
				return
			}
			w.(http.Flusher).Flush()
		}
	}))
	if l, err := net.Listen("tcp", "127.0.0.1:443"); *updateScreenshots && err == nil {
		srv.Listener.Close()
		srv.Listener = l // as it mostly is
	} else if err == nil {
		l.Close()
	}
	srv.Start()
	t.Cleanup(func() {
		srv.CloseClientConnections() // exits keep some of them a while
		srv.Close()
	})
	_, port, _ = net.SplitHostPort(srv.Listener.Addr().String())
	return port
}

// visitor is a program that uses the proxy.
type visitor struct {
	user    string // "" for one of this host
	version socks.Version
}

// fetch loads from a site until it has so many bytes, or ctx ends.
func (s *scene) fetch(ctx context.Context, v visitor, name string, size, speed, wait int) error {
	d := socks.Dialer{Proxy: s.addr(), Version: v.version}
	if v.user != "" {
		d.Proxy, d.Auth = s.lan, socks.Auth{Method: socks.UserPass, User: v.user, Password: "pw"}
	}
	c, err := d.DialContext(ctx, "tcp", net.JoinHostPort(name, s.port))
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	fmt.Fprintf(c, "GET /%d/%d/%d HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", size, speed, wait, name)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// setUp has everything happen once, and leaves some downloads that go on.
func (s *scene) setUp(t *testing.T) {
	t.Helper()
	const endless = math.MaxInt32
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		group.Wait()
	})
	s.awaitAnswer(t, "egresses", `"state":"ready"`, 2) // or all use the tor that is ready first
	for _, c := range []struct {
		visitor
		name  string
		speed int
	}{
		{visitor{"ann", socks.V5}, "cdn.video.example", 250_000},
		{visitor{"ann", socks.V5}, "git.office.example", 60_000},
		{visitor{"build", socks.V5}, "mirror.linux.example", 400_000},
		{visitor{"", socks.V5}, "www.news.example", 9_000},
		{visitor{"", socks.V4}, "api.weather.example", 700},
		{visitor{"ben", socks.V5}, "mail.office.example", 2_000},
		{visitor{"ben", socks.V5}, "wiki.example", 30_000},
	} {
		group.Go(func() {
			if err := s.fetch(ctx, c.visitor, c.name, endless, c.speed, 0); ctx.Err() == nil {
				t.Errorf("%s: %v", c.name, err)
			}
		})
	}
	s.fail(t)
	await(t, "the programs that leak to be named", func() bool {
		s.leak(t) // once again if they had ended before they were looked for
		who := s.answer(t, "leaks")
		return strings.Contains(who, `"program":"curl"`) && strings.Contains(who, `"program":"ncat"`)
	})
	s.awaitAnswer(t, "connections", `"stage":"relay"`, 7)
	s.awaitAnswer(t, "egresses", `"state":"BUILT","purpose":"GENERAL"`, 2)
	s.awaitAnswer(t, "failures", `"id":`, 5)
}

// answer is what the API says of a topic.
func (s *scene) answer(t *testing.T, topic string) string {
	t.Helper()
	resp := s.open(t, t.Context(), "api/v1/"+topic)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func (s *scene) awaitAnswer(t *testing.T, topic, has string, times int) {
	t.Helper()
	await(t, fmt.Sprintf("%s to have %s %d times", topic, has, times), func() bool {
		return strings.Count(s.answer(t, topic), has) >= times
	})
}

// fail is what goes wrong at a gateway.
func (s *scene) fail(t *testing.T) {
	t.Helper()
	for _, c := range []struct {
		proxy, user, password, target string
	}{
		{s.addr(), "", "", "mail.example:25"},
		{s.addr(), "", "", "no.such.name.example:443"},
		{s.lan, "ann", "pw", "printer.example:631"},
		{s.lan, "ann", "wrong", "www.news.example:443"},
		{s.lan, "ben", "pw", "git.office.example:9"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		d := socks.Dialer{Proxy: c.proxy}
		if c.user != "" {
			d.Auth = socks.Auth{Method: socks.UserPass, User: c.user, Password: c.password}
		}
		conn, err := d.DialContext(ctx, "tcp", c.target)
		cancel()
		if err == nil {
			conn.Close()
			t.Errorf("%s was reached", c.target)
		}
	}
}

// leak has programs send addresses that they could not have looked up here.
func (s *scene) leak(t *testing.T) {
	t.Helper()
	for _, words := range []string{
		"curl -qsS -m 1 --socks5 " + s.addr() + " http://192.0.2.10/",
		"ncat -w 1 --proxy-dns local --proxy-type socks5 --proxy " + s.addr() + " 192.0.2.11 22",
	} {
		args := strings.Fields(words)
		args[0] = debiantest.Program(t, args[0], args[0])
		runProgram(t, "", args...)
	}
	if git, err := exec.LookPath("git"); err == nil && *updateScreenshots {
		runProgram(t, "", "timeout", "2", git, "-c", "http.proxy=socks5://"+s.addr(), "ls-remote", "http://192.0.2.12/a.git")
	}
}

// traffic goes on until a time: more and less of it, as the day goes.
func (s *scene) traffic(t *testing.T, until time.Time) {
	t.Helper()
	ctx, cancel := context.WithDeadline(t.Context(), until)
	defer cancel()
	began := time.Now()
	var group sync.WaitGroup
	for range 6 {
		group.Go(func() {
			for ctx.Err() == nil {
				tide := 1.2 + math.Sin(time.Since(began).Minutes()/6) + 0.5*math.Sin(time.Since(began).Minutes()/1.7)
				select {
				case <-time.After(time.Duration(rand.ExpFloat64() * 3 / tide * float64(time.Second))):
				case <-ctx.Done():
					return
				}
				v := []visitor{{"", socks.V5}, {"", socks.V5}, {"", socks.V4}, {"ann", socks.V5}, {"ben", socks.V5}, {"build", socks.V5}}[rand.N(6)]
				name := siteNames[rand.N(len(siteNames))]
				if rand.N(25) == 0 {
					name = "gone" + strconv.Itoa(rand.N(9)) + ".example"
				}
				size := int(math.Exp(rand.Float64() * 15))
				if err := s.fetch(ctx, v, name, size, 1_500_000, rand.N(60)); err != nil && !errors.Is(err, context.DeadlineExceeded) && !strings.HasPrefix(name, "gone") {
					t.Logf("%s: %v", name, err)
				}
			}
		})
	}
	group.Wait()
	s.fail(t)
	s.leak(t)
}
