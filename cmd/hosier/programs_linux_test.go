package main

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"hosier/internal/debiantest"
	"hosier/internal/page"
)

// trial is how a test runs one line that the page and README tell a person to type. The
// line's placeholders have been filled in when it runs.
type trial struct {
	program string // that is run; "" for a line that another trial or test runs
	debian  string // its package
	line    string // what a shell is given: LINE is the line itself, NAME the target, which no other trial has
	env     []string
	want    string // is in its output
}

// A line goes into a shell as it is, unless it is one of a file.
var trials = map[string]trial{
	"curl -x":               {program: "curl", debian: "curl", line: "LINE", want: "you reached NAME"},
	"git config":            {program: "git", debian: "git", line: "LINE && git ls-remote https://NAME/repository", want: "refs/heads/main"},
	"https_proxy=":          {program: "wget", debian: "wget", line: "LINE && cat file", want: "you reached NAME"},
	"ssh -o":                {program: "ssh", debian: "openssh-client", line: "LINE -p 22 -o StrictHostKeyChecking=no -v true", want: "remote software version hosier"},
	"rsync -e":              {program: "rsync", debian: "rsync", line: "LINE", want: "Connection closed"},
	"RSYNC_PROXY=":          {program: "rsync", debian: "rsync", line: "LINE", want: "@ERROR: nothing here"},
	"ncat --proxy":          {program: "ncat", debian: "ncat", line: "printf 'GET / HTTP/1.0\\r\\nHost: NAME\\r\\n\\r\\n' | LINE", want: "you reached NAME"},
	"nc -X":                 {program: "nc", debian: "netcat-openbsd", line: "printf 'GET / HTTP/1.0\\r\\nHost: NAME\\r\\n\\r\\n' | LINE", want: "you reached NAME"},
	"Acquire::http::Proxy":  {program: "apt-get", debian: "apt", line: aptLine, want: "file"},
	"pip install":           {program: "/usr/bin/pip3", debian: "python3-pip", line: "LINE && cat lib/hosier_test.py", env: pipEnv, want: "you installed"},
	"pip config":            {program: "/usr/bin/pip3", debian: "python3-pip", line: "LINE && pip install hosier-test && cat lib/hosier_test.py", env: pipEnv, want: "you installed"},
	"npm config":            {program: "npm", debian: "npm", line: "LINE\nnpm view hosier-test version", env: []string{"NODE_EXTRA_CA_CERTS=CA", "npm_config_registry=https://NAME/npm/", "npm_config_update_notifier=false"}, want: "1.2.3"},
	"const {":               {program: "node", debian: "nodejs", line: "cat >p.js <<'END'\nLINE\nEND\nnode p.js", env: []string{"NODE_EXTRA_CA_CERTS=CA", "NODE_PATH=MODULES"}, want: "you reached NAME"},
	"export ALL_PROXY":      {program: "/usr/bin/python3", debian: "python3-requests", line: "LINE; /usr/bin/python3 -Ic 'import requests; print(requests.get(\"https://NAME/\").text)'", want: "you reached NAME"},
	"export HTTP_PROXY":     {program: "go", debian: "golang", line: "LINE; " + goLine, env: goEnv, want: "v1.2.3"},
	"java -D":               {program: "java", debian: "default-jre-headless", line: "LINE -printcert -sslserver NAME", want: "CN=*.hosier.test"},
	"socks5 ":               {program: "proxychains4", debian: "proxychains4", line: proxychainsLine, want: "you reached NAME"},
	"http ":                 {program: "proxychains4", debian: "proxychains4", line: proxychainsLine, want: "you reached NAME"},
	"proxychains4 -q":       {}, // with the line before it
	"[Service]":             {program: "curl", debian: "curl", line: "env $(printf %s 'LINE' | sed -n 's/^Environment=//p') sh -c 'curl -sS https://NAME/'", want: "you reached NAME"},
	"chromium --proxy":      {}, // TestCheckInBrowsers
	"http://HOST/proxy.pac": {},
}

const (
	aptLine = "printf '%s\\n' 'LINE' >90proxy && mkdir -p lists archives && echo 'deb [trusted=yes] https://NAME/apt ./' >sources.list && " +
		"APT_CONFIG=90proxy apt-get -o Dir::Etc::SourceList=$PWD/sources.list -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists=$PWD/lists " +
		"-o Dir::Cache=$PWD -o APT::Sandbox::User=root update && grep -rh Package: lists"
	proxychainsLine = "sed 's/^socks4.*9050$/LINE/' /etc/proxychains4.conf >proxychains.conf && proxychains4 -q -f proxychains.conf curl -sS https://NAME/"
	goLine          = "printf 'module m\\ngo 1.24\\n' >go.mod && go list -m -versions example.test/x"
)

var (
	pipEnv = []string{"PIP_INDEX_URL=https://NAME/simple/", "PIP_TARGET=lib", "PIP_BREAK_SYSTEM_PACKAGES=1", "PIP_NO_CACHE_DIR=1", "PIP_DISABLE_PIP_VERSION_CHECK=1", "PIP_RETRIES=0", "PIP_TIMEOUT=60"}
	goEnv  = []string{"GOPROXY=https://NAME/go", "GONOSUMDB=*", "GOFLAGS=-mod=mod", "GOTOOLCHAIN=local", "PATH=GOBIN:" + systemPath}
)

// TestProgramLines runs each line that the page and README tell people to type, with the real
// program: it reaches its target through hosier, and nobody on this side looks a name up.
func TestProgramLines(t *testing.T) {
	const config = `via = "direct"
[listener.open]
listen = "127.0.0.1:1080"
[listener.users]
listen = "127.0.0.1:1081"
users = "DIR/users"
[listener.connect]
listen = "127.0.0.1:1082"
dialects = "connect"
`
	all := page.Dialects{SOCKS4: true, SOCKS5: true, CONNECT: true}
	listeners := []struct {
		name, port string
		page.Listener
	}{
		{"open", "1080", page.Listener{Dialects: all}},
		{"users", "1081", page.Listener{Dialects: all, Users: true}},
		{"connect", "1082", page.Listener{Dialects: page.Dialects{CONNECT: true}}},
	}
	var names []string
	type one struct {
		name, line string
		trial
	}
	var runs []one
	for _, l := range listeners {
		for _, p := range l.Programs("127.0.0.1", l.port) {
			for i, line := range p.Lines {
				name := fmt.Sprintf("%s-%s-%d.hosier.test", p.ID, l.name, i)
				names = append(names, name)
				runs = append(runs, one{name, line, trialOf(t, line)})
			}
		}
	}
	s := newSide(t, programSite(t), names...)
	dir := t.TempDir()
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "users"), "ann:"+string(hash)+"\n")
	writeFile(t, filepath.Join(dir, "hosier.toml"), strings.ReplaceAll(config, "DIR", dir))
	h := s.start(t, "--config", filepath.Join(dir, "hosier.toml"), "--listen", "127.0.0.1:0")
	h.awaitListeners(t, 4)
	fill := fillIn(t)
	t.Run("all", func(t *testing.T) {
		for _, r := range runs {
			if r.program == "" {
				continue
			}
			t.Run(r.name, func(t *testing.T) {
				t.Parallel()
				debiantest.Program(t, r.program, r.debian)
				line := strings.ReplaceAll(r.trial.line, "LINE", fill(r.line, r.name, s))
				var env []string
				for _, e := range r.env {
					env = append(env, fill(e, r.name, s))
				}
				got := s.run(t, fill(line, r.name, s), env...)
				if want := fill(r.want, r.name, s); !strings.Contains(got.stdout+got.stderr, want) {
					t.Errorf("%s\nends with %d and does not print %q:\n%s%s", line, got.code, want, got.stdout, got.stderr)
				}
				h.awaitLog(t, `command=CONNECT target=`+regexp.QuoteMeta(r.name)+`:\d+ `)
			})
		}
	})
	s.silent(t)
}

// trialOf returns the trial of a line. A line without one is one that nobody has run.
func trialOf(t *testing.T, line string) trial {
	t.Helper()
	for begin, one := range trials {
		if strings.HasPrefix(line, begin) || strings.HasSuffix(line, begin[strings.LastIndex(begin, "/")+1:]) && strings.HasSuffix(begin, ".pac") {
			return one
		}
	}
	t.Errorf("the page tells people to type %q, and no test runs it", line)
	return trial{}
}

// fillIn returns a function that puts what a person would in place of the capitals of a line.
func fillIn(t *testing.T) func(line, name string, s *side) string {
	t.Helper()
	dir := t.TempDir()
	jar := filepath.Join(dir, "program.jar") // keytool's -printcert speaks HTTPS with the settings of any program
	writeFile(t, jar, string(zipOf(t, map[string]string{"META-INF/MANIFEST.MF": "Manifest-Version: 1.0\nMain-Class: sun.security.tools.keytool.Main\n"})))
	modules := npmModules(t, "socks-proxy-agent@8.0.5", "https-proxy-agent@7.0.6")
	gobin := filepath.Dir(debiantest.Program(t, "go", "golang"))
	return func(line, name string, s *side) string {
		return regexp.MustCompile(`\b(URL|HOST|FILE|PACKAGE|PORT|PROGRAM(\.jar)?|USER|PASSWORD|NAME|CA|MODULES|GOBIN)\b`).ReplaceAllStringFunc(line, func(word string) string {
			return map[string]string{
				"URL": "https://" + name + "/", "HOST": name, "NAME": name, "FILE": "file", "PORT": "80", "PACKAGE": "hosier-test",
				"PROGRAM": "curl", "PROGRAM.jar": jar, "USER": "ann", "PASSWORD": "secret", "CA": s.ca, "MODULES": modules, "GOBIN": gobin,
			}[word]
		})
	}
}

func npmModules(t *testing.T, packages ...string) string {
	t.Helper()
	dir := t.TempDir()
	got := runProgram(t, "", append([]string{debiantest.Program(t, "npm", "npm"), "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", dir}, packages...)...)
	if got.code != 0 {
		t.Fatalf("npm: %s", got.stderr)
	}
	return filepath.Join(dir, "node_modules")
}

// TestProgramsPastTheProxy holds what the page says of programs that ignore a setting, or look
// names up in spite of it; and that leaks are seen, without which TestProgramLines says nothing.
func TestProgramsPastTheProxy(t *testing.T) {
	const variable = "export ALL_PROXY=socks5h://127.0.0.1:1080; "
	ssh := "ssh -o StrictHostKeyChecking=no -o ConnectTimeout=20 NAME true"
	lines := []struct {
		name, debian, line string
		env                []string
		through, asks      bool
	}{
		{"curl", "curl", variable + "curl -sS https://NAME/", nil, true, false},
		{"git", "git", variable + "git ls-remote https://NAME/repository", nil, true, false},
		{"/usr/bin/pip3", "python3-pip", variable + "pip install hosier-test", pipEnv, true, false},
		{"/usr/bin/python3", "python3-requests", variable + `/usr/bin/python3 -Ic 'import requests; requests.get("https://NAME/")'`, nil, true, false},
		{"wget", "wget", variable + "wget -t 1 https://NAME/file", nil, false, true},
		{"go", "golang", variable + goLine, goEnv, false, true},
		{"node", "nodejs", variable + `node -e 'fetch("https://NAME/").catch(() => {})'`, nil, false, true},
		{"npm", "npm", variable + "npm view hosier-test version", []string{"npm_config_registry=https://NAME/npm/", "npm_config_fetch_retries=0", "npm_config_update_notifier=false"}, false, true},
		{"apt-get", "apt", variable + strings.Replace(aptLine, "LINE", "", 1), nil, false, true},
		{"java", "default-jre-headless", variable + "java -jar PROGRAM.jar -printcert -sslserver NAME", nil, false, true},
		{"ssh", "openssh-client", variable + ssh, nil, false, true},
		{"rsync", "rsync", variable + "rsync rsync://NAME/file .", nil, false, true},
		{"java", "default-jre-headless", "java -DsocksProxyHost=127.0.0.1 -DsocksProxyPort=1080 -jar PROGRAM.jar -printcert -sslserver NAME", nil, true, true},
		{"nc", "netcat-openbsd", "nc -X 4 -x 127.0.0.1:1080 NAME 80 </dev/null", nil, false, true},
		{"curl", "curl", "curl -sS -x socks5://127.0.0.1:1080 https://NAME/", nil, false, true},
	}
	var names []string
	nameOf := func(i int) string { return fmt.Sprintf("past-%d.hosier.test", i) }
	for i := range lines {
		names = append(names, nameOf(i))
	}
	s := newSide(t, programSite(t), names...)
	h := s.start(t, "--listen", "127.0.0.1:1080")
	fill := fillIn(t)
	t.Run("all", func(t *testing.T) {
		for i, tt := range lines {
			t.Run(fmt.Sprintf("%d-%s", i, filepath.Base(tt.name)), func(t *testing.T) {
				t.Parallel()
				debiantest.Program(t, tt.name, tt.debian)
				var env []string
				for _, e := range tt.env {
					env = append(env, fill(e, nameOf(i), s))
				}
				got := s.run(t, fill(tt.line, nameOf(i), s), env...)
				target := "target=" + nameOf(i) + ":"
				if tt.through {
					h.awaitLog(t, regexp.QuoteMeta(target))
				} else if strings.Contains(h.log.String(), target) {
					t.Errorf("it came through hosier: %s", got.stderr)
				}
				if asks := s.local.Asked(nameOf(i)); asks != tt.asks {
					t.Errorf("it looked the name up on this side: %v, want %v; it said %s", asks, tt.asks, got.stderr)
				}
			})
		}
	})
}

// programSite is a web server that has something for each program.
func programSite(t *testing.T) http.Handler {
	t.Helper()
	wheel := zipOf(t, map[string]string{
		"hosier_test.py":                       "# you installed it\n",
		"hosier_test-1.2.3.dist-info/METADATA": "Metadata-Version: 2.1\nName: hosier-test\nVersion: 1.2.3\n",
		"hosier_test-1.2.3.dist-info/WHEEL":    "Wheel-Version: 1.0\nGenerator: hosier\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
		"hosier_test-1.2.3.dist-info/RECORD":   "hosier_test.py,,\nhosier_test-1.2.3.dist-info/METADATA,,\nhosier_test-1.2.3.dist-info/WHEEL,,\nhosier_test-1.2.3.dist-info/RECORD,,\n",
	})
	const packages = "Package: file\nVersion: 1\nArchitecture: all\nFilename: file.deb\nSize: 1\n\n"
	files := map[string]string{
		"/repository/info/refs":               strings.Repeat("1", 40) + "\trefs/heads/main\n",
		"/repository/HEAD":                    "ref: refs/heads/main\n",
		"/apt/./Packages":                     packages,
		"/apt/./Release":                      fmt.Sprintf("Suite: hosier\nDate: Sat, 28 Nov 2026 00:00:00 UTC\nSHA256:\n %x %d Packages\n", sha256.Sum256([]byte(packages)), len(packages)),
		"/npm/hosier-test":                    `{"name":"hosier-test","dist-tags":{"latest":"1.2.3"},"versions":{"1.2.3":{"name":"hosier-test","version":"1.2.3"}}}`,
		"/go/example.test/x/@v/list":          "v1.2.3\n",
		"/simple/hosier-test/":                `<a href="/hosier_test-1.2.3-py3-none-any.whl#sha256=` + hexSum(wheel) + `">hosier_test-1.2.3-py3-none-any.whl</a>`,
		"/hosier_test-1.2.3-py3-none-any.whl": string(wheel),
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := files[r.URL.Path]
		text2, ok2 := files[strings.Replace(r.URL.Path, "/apt/", "/apt/./", 1)]
		switch {
		case ok:
		case ok2:
			text = text2
		case r.URL.Path == "/" || r.URL.Path == "/file":
			text = greeting(r.Host)
		default:
			http.NotFound(w, r)
			return
		}
		if r.URL.Path == "/simple/hosier-test/" {
			w.Header().Set("Content-Type", "text/html")
		}
		io.WriteString(w, text)
	})
}

func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func zipOf(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, text := range files {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, text)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
