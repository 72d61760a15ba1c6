package leaks

import "strings"

// fixes are the settings that make a program send names. The first line with the
// program's name, or its beginning before a *, counts. They were tested with curl 7.88,
// git 2.39, npm 11, ncat 7.93 and Java 17; and taken from the documentation of the
// others: requests' "Advanced Usage", nc's socks.c, Chromium's proxy.md, Firefox's
// settings.
var fixes = [...]struct{ programs, fix string }{
	{"curl", "use --socks5-hostname in place of --socks5, --socks4a in place of --socks4, and in -x and variables socks5h:// in place of socks5://"},
	{"git git-remote-*", "git config --global http.proxy socks5h://HOST:PORT, not socks5://; the same in ALL_PROXY"},
	{"pip pip3* pipx", "pip config set global.proxy socks5h://HOST:PORT, not socks5://; the same in ALL_PROXY"},
	{"npm npx", "npm config set proxy socks5h://HOST:PORT, and https-proxy too, not socks5://"},
	{"yarn pnpm node*", "use socks5h:// in place of socks5:// in the proxy's URL"},
	{"python*", "use socks5h:// in place of socks5:// in the proxy's URL; with PySocks leave rdns as it is, True"},
	{"java*", "Java looks names up before it asks a SOCKS proxy (-DsocksProxyHost): for https set -Dhttps.proxyHost=HOST -Dhttps.proxyPort=PORT in its place; in code connect to InetSocketAddress.createUnresolved"},
	{"ncat", "leave out --proxy-dns local, or say --proxy-dns remote"},
	{"nc nc.openbsd netcat", "use -X 5 in place of -X 4"},
	{"firefox* librewolf* thunderbird*", `in Settings, Network Settings, choose SOCKS v5 and tick "Proxy DNS when using SOCKS v5"`},
	{"chrome chromium* google-chrome* brave* msedge* opera* vivaldi*", "use --proxy-server=socks5://HOST:PORT; with socks4:// it looks names up itself"},
	{"redsocks* tun2socks* badvpn-tun2socks hev-socks5-*", "it gets addresses only: give the programs behind it a DNS server that asks through the proxy"},
	{"proxychains*", "turn proxy_dns on in proxychains.conf"},
}

const otherFix = "use socks5h:// or SOCKS4A, or have the proxy look names up (\"remote DNS\"); under proxychains turn proxy_dns on"

func findFix(program string) (string, bool) {
	for _, m := range fixes {
		for name := range strings.FieldsSeq(m.programs) {
			begin, any := strings.CutSuffix(name, "*")
			if program == name || any && strings.HasPrefix(program, begin) {
				return m.fix, true
			}
		}
	}
	return otherFix, false
}

// fixFor returns which setting of the program to change.
func fixFor(program string) string {
	text, _ := findFix(program)
	return text
}

func hasFix(program string) bool {
	_, ok := findFix(program)
	return ok
}
