package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"hosier/internal/debiantest"
	"hosier/internal/sockstest"
	"hosier/internal/tcptest"
)

// side is a network namespace in which programs run: this side of a hosier in it. The name
// server that its programs know, 127.0.0.1:53, knows no name, and remembers every question:
// each is a leak. The name server of the far side, which only hosier is told, has all names
// under hosier.test, at an address where a web server is.
type side struct {
	local, far *sockstest.DNS
	handler    http.Handler
	ca         string // file of the certificate of the web server's authority
	dir        string
	pid        int
}

const (
	farAddress = "93.184.215.14" // of the web server: a public one, which listeners beyond loopback lead to
	lanAddress = "192.168.7.1"   // another of the namespace's
)

// newSide makes a namespace, which takes root. It ends with the test.
func newSide(t *testing.T, web http.Handler, names ...string) *side {
	t.Helper()
	if os.Geteuid() != 0 {
		debiantest.Missing(t, "a user who may make network namespaces", "nothing, but be root")
	}
	s := &side{dir: t.TempDir(), handler: web}
	cert, pool := s.certificate(t)
	hostname, err := os.Hostname() // which programs look up
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"resolv.conf": "nameserver 127.0.0.1\noptions timeout:5 attempts:1\n", "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
		"hosts": "127.0.0.1 localhost\n127.0.1.1 " + hostname + "\n", "ca-certificates.crt": pool,
	} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s.ca = filepath.Join(s.dir, "ca-certificates.crt")
	s.hold(t)
	s.local = sockstest.NewDNSOn(t, listenPacketIn(t, s.pid, "127.0.0.1:53"))
	s.far = sockstest.NewDNSOn(t, listenPacketIn(t, s.pid, "127.0.0.1:5353"))
	for _, name := range names {
		s.far.Set(name, farAddress)
	}
	s.serve(t, listenIn(t, s.pid, farAddress+":80"))
	s.serve(t, tls.NewListener(listenIn(t, s.pid, farAddress+":443"), &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}}))
	s.greet(t, farAddress+":22", "SSH-2.0-hosier\r\n")
	s.greet(t, farAddress+":873", "@RSYNCD: 31.0\n@ERROR: nothing here\n")
	return s
}

// greet serves clients that see a text and the end.
func (s *side) greet(t *testing.T, address, text string) {
	t.Helper()
	tcptest.Serve(t, listenIn(t, s.pid, address), func(c net.Conn) {
		io.WriteString(c, text)
		c.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, c)
	})
}

// hold starts the process whose namespaces those of the side are.
func (s *side) hold(t *testing.T) {
	t.Helper()
	const script = `set -e
for f in resolv.conf nsswitch.conf hosts; do mount --bind "$1/$f" "$(readlink -f /etc/$f)"; done
mount --bind "$1/ca-certificates.crt" /etc/ssl/certs/ca-certificates.crt
ip link set lo up
ip addr add ` + farAddress + `/32 dev lo
ip addr add ` + lanAddress + `/32 dev lo
echo ready
exec cat`
	cmd := exec.Command(debiantest.Program(t, "unshare", "util-linux"), "--net", "--mount", "sh", "-c", script, "sh", s.dir)
	cmd.Env = append(os.Environ(), "PATH="+systemPath)
	var said output
	cmd.Stderr = &said
	in, err := cmd.StdinPipe() // it ends with it, also where this process is killed
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("make a network namespace: %v: %s", err, said.String())
	}
	s.pid = cmd.Process.Pid
}

// systemPath has Debian's programs, and none that stand before them elsewhere.
const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// enter are the words that have a program run in the namespace. It keeps its process.
func (s *side) enter() []string {
	return []string{"nsenter", "--net", "--mount", "--target", strconv.Itoa(s.pid)}
}

// start runs a hosier in the namespace that looks names up on the far side.
func (s *side) start(t *testing.T, args ...string) *process {
	t.Helper()
	return startUnder(t, append(s.enter(), "env", "PATH="+os.Getenv("PATH")), append([]string{"--dns", "127.0.0.1:5353", "-v"}, args...)...)
}

// run runs a line of a shell in the namespace, with these variables and few others.
func (s *side) run(t *testing.T, line string, env ...string) outcome {
	t.Helper()
	home := t.TempDir()
	words := append(s.enter(), "env", "-i", "-C", home, "PATH="+systemPath, "HOME="+home, "LANG=C.UTF-8", "TMPDIR="+home)
	return runProgram(t, "", append(append(words, env...), "sh", "-c", line)...)
}

// onSide is the environment variable of a test that runs on a side.
const onSide = "HOSIER_TEST_ON_SIDE"

// again runs the test, which is one of the top level, once more: in the namespace.
func (s *side) again(t *testing.T) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	words := append(s.enter(), self, "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=10m")
	cmd := exec.CommandContext(t.Context(), words[0], words[1:]...)
	cmd.Env = append(os.Environ(), onSide+"=yes")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("in the namespace: %v\n%s", err, out)
	}
	if testing.Verbose() {
		t.Logf("in the namespace:\n%s", out)
	}
}

// leaked returns what was asked of the name server of this side, each question once.
func (s *side) leaked() (questions []string) {
	seen := map[string]bool{}
	for _, q := range s.local.Queries() {
		if question := strings.TrimPrefix(q.Type.String(), "Type") + " " + q.Name; !seen[question] {
			seen[question] = true
			questions = append(questions, question)
		}
	}
	return questions
}

// silent fails the test if anything was asked on this side.
func (s *side) silent(t *testing.T) {
	t.Helper()
	if all := s.leaked(); len(all) > 0 {
		t.Errorf("on this side there were the questions: %q", all)
	}
}

func (s *side) serve(t *testing.T, l net.Listener) {
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: s.handler}}
	server.Start()
	t.Cleanup(server.Close)
}

// certificate returns one for all names under hosier.test, and its authority's in PEM.
func (s *side) certificate(t *testing.T) (cert tls.Certificate, authority string) {
	t.Helper()
	caKey, caDER := certificate(t, "authority.hosier.test", nil, nil)
	ca, err := x509.ParseCertificate(caDER)
	if err != nil {
		t.Fatal(err)
	}
	key, der := certificate(t, "*.hosier.test", ca, caKey)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pemOf("CERTIFICATE", caDER)
}

// inNamespace calls make on a thread in the network namespace of a process. What it opens
// stays there, whoever uses it.
func inNamespace(t *testing.T, pid int, open func() error) {
	t.Helper()
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		fd, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			defer unix.Close(fd)
			err = unix.Setns(fd, syscall.CLONE_NEWNET)
		}
		if err == nil {
			err = open()
		}
		failed <- err
	}()
	if err := <-failed; err != nil {
		t.Fatalf("in a network namespace: %v", err)
	}
}

func listenIn(t *testing.T, pid int, address string) (l net.Listener) {
	t.Helper()
	inNamespace(t, pid, func() (err error) {
		l, err = net.Listen("tcp", address)
		return err
	})
	return l
}

func listenPacketIn(t *testing.T, pid int, address string) (pc net.PacketConn) {
	t.Helper()
	inNamespace(t, pid, func() (err error) {
		pc, err = net.ListenPacket("udp", address)
		return err
	})
	return pc
}
