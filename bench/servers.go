//go:build unix

package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
)

// server is one that is compared.
type server struct {
	name, version string
	addr          string
	command       string // starts it in the foreground; the shell runs it
}

// packages are what Debian calls the others.
func packages() []string {
	return []string{"microsocks", "dante-server", "openssh-server", "openssh-client"}
}

// prepare builds hosier and what it is compared with, and writes their configurations.
// What cannot be had is missing from the comparison, and the page says so.
func (b *bench) prepare(ctx context.Context) error {
	b.busy = loadAverage()
	if err := os.Chmod(b.dir, 0o755); err != nil { // ordinary users run what is in it
		return err
	}
	if b.install && os.Getuid() == 0 {
		install(ctx)
	}
	b.hosier = filepath.Join(b.dir, "hosier")
	if err := build(ctx, b.root, b.hosier, "./cmd/hosier"); err != nil {
		return err
	}
	gosocks := filepath.Join(b.dir, "gosocks5")
	if err := build(ctx, filepath.Join(b.root, "bench/gosocks5"), gosocks, "."); err != nil {
		return err
	}
	b.add("hosier", firstLine(b.hosier, "version"), b.hosier, "%s serve --listen %s")
	b.add("go-socks5", "things-go/go-socks5 "+b.moduleVersion(ctx, "github.com/things-go/go-socks5"), gosocks, "%s %s")
	b.addMicrosocks()
	b.addDante()
	b.addSSH(ctx)
	return nil
}

func build(ctx context.Context, dir, out, pkg string) error {
	abs, err := filepath.Abs(out)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", abs, pkg)
	cmd.Dir = dir
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, text)
	}
	return nil
}

// add takes a server up whose command is made of its program and its address.
func (b *bench) add(name, version, program, command string) {
	addr := b.freeAddr()
	b.servers = append(b.servers, server{name, version, addr, fmt.Sprintf(command, program, addr)})
}

// freeAddr is an address on which nobody listens. Its port is below those that the system
// gives to outgoing connections, of which there will be many before a server is started
// anew.
func (b *bench) freeAddr() string {
	for b.port++; b.port < 32768; b.port++ {
		addr := fmt.Sprintf("127.0.0.1:%d", b.port)
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
	log.Fatal("there is no free port below 32768")
	return ""
}

func (b *bench) addMicrosocks() {
	program := find("microsocks")
	if program == "" {
		b.missing = append(b.missing, "microsocks")
		return
	}
	addr := b.freeAddr()
	_, port, _ := strings.Cut(addr, ":")
	// Its log, a line a relay, goes nowhere: it has no quiet option in this version.
	command := fmt.Sprintf("%s -i 127.0.0.1 -p %s 2>/dev/null", program, port)
	b.servers = append(b.servers, server{"microsocks", packageVersion("microsocks"), addr, command})
}

func (b *bench) addDante() {
	program := find("danted")
	if program == "" {
		b.missing = append(b.missing, "dante")
		return
	}
	addr := b.freeAddr()
	_, port, _ := strings.Cut(addr, ":")
	conf := "logoutput: /dev/null\ninternal: 127.0.0.1 port = " + port + "\nexternal: 127.0.0.1\n" +
		"clientmethod: none\nsocksmethod: none\n"
	if os.Getuid() == 0 {
		conf += "user.privileged: root\nuser.unprivileged: nobody\n"
	}
	conf += "client pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }\nsocks pass { from: 127.0.0.0/8 to: 127.0.0.0/8 }\n"
	file := b.file("danted.conf", conf)
	b.servers = append(b.servers, server{"dante", packageVersion("dante-server"), addr, program + " -f " + file + " -p " + filepath.Join(b.dir, "danted.pid")})
}

// addSSH has ssh -D go to an sshd of its own, with keys of its own. Both are one tree of
// processes, so the costs are those of both ends, encryption included.
func (b *bench) addSSH(ctx context.Context) {
	sshd, ssh := find("sshd"), find("ssh")
	me, err := user.Current()
	if sshd == "" || ssh == "" || err != nil {
		b.missing = append(b.missing, "ssh")
		return
	}
	os.Mkdir("/run/sshd", 0o755) // where sshd of root parts with its privileges; exists mostly
	for _, key := range []string{"host_key", "user_key"} {
		exec.CommandContext(ctx, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(b.dir, key)).Run()
	}
	in := func(name string) string { return filepath.Join(b.dir, name) }
	addr, inner := b.freeAddr(), b.freeAddr()
	_, port, _ := strings.Cut(inner, ":")
	conf := b.file("sshd_config", strings.Join([]string{
		"ListenAddress 127.0.0.1:" + port, "HostKey " + in("host_key"), "AuthorizedKeysFile " + in("user_key.pub"),
		"StrictModes no", "UsePAM no", "PasswordAuthentication no", "KbdInteractiveAuthentication no",
		"PermitRootLogin prohibit-password", "PidFile none", "LogLevel ERROR", "",
	}, "\n"))
	options := "-o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no -o IdentitiesOnly=yes -o ConnectionAttempts=10 -o LogLevel=ERROR"
	script := b.file("ssh.sh", fmt.Sprintf("%s -D -f %s &\nexec %s -F none -N -D %s %s -i %s -p %s %s@127.0.0.1\n",
		sshd, conf, ssh, addr, options, in("user_key"), port, me.Username))
	b.servers = append(b.servers, server{"ssh -D", packageVersion("openssh-client"), addr, "/bin/sh " + script})
}

func (b *bench) file(name, text string) string {
	path := filepath.Join(b.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		log.Fatal(err)
	}
	return path
}

// find looks for a program also where an ordinary user's PATH does not.
func find(program string) string {
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		path := filepath.Join(dir, program)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path
		}
	}
	return ""
}

// install gets the packages that are missing, without starting their services.
func install(ctx context.Context) {
	var want []string
	for _, p := range packages() {
		if packageVersion(p) == "" {
			want = append(want, p)
		}
	}
	if len(want) == 0 || find("apt-get") == "" {
		return
	}
	const policy = "/usr/sbin/policy-rc.d" // asked by Debian's packages before they start a service
	f, err := os.OpenFile(policy, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err == nil {
		defer os.Remove(policy)
		fmt.Fprint(f, "#!/bin/sh\nexit 101\n")
		f.Close()
	}
	log.Printf("installing %s", strings.Join(want, ", "))
	cmd := exec.CommandContext(ctx, "apt-get", append([]string{"install", "-y", "-qq", "--no-install-recommends"}, want...)...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if text, err := cmd.CombinedOutput(); err != nil {
		log.Printf("apt-get: %v; what is missing is left out\n%s", err, text)
	}
}

func packageVersion(name string) string {
	return firstLine("dpkg-query", "-W", "-f", "${Version}", name)
}

func (b *bench) moduleVersion(ctx context.Context, module string) string {
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Version}}", module)
	cmd.Dir = filepath.Join(b.root, "bench/gosocks5")
	out, _ := cmd.Output()
	return strings.TrimSpace(string(out))
}

// firstLine returns the first line that a program prints; "" if it fails.
func firstLine(words ...string) string {
	out, err := exec.Command(words[0], words[1:]...).Output()
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line)
}
