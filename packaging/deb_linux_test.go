package packaging_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// nfpm is what packaging/build runs; without its module there is no package to look at.
const nfpm = "github.com/goreleaser/nfpm/v2@v2.45.2"

func buildDeb(t *testing.T) (deb string) {
	t.Helper()
	program(t, "dpkg", "dpkg")
	if !strings.Contains(read(t, "build"), strings.Replace(nfpm, "@", "/cmd/nfpm@", 1)) {
		t.Fatalf("packaging/build does not run %s", nfpm)
	}
	if err := exec.Command("go", "mod", "download", nfpm).Run(); err != nil && os.Getenv("CI") != "true" {
		t.Skipf("%s cannot be had: %v", nfpm, err)
	}
	dir := t.TempDir()
	output(t, "./build", dir, "deb")
	all, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(all) != 1 {
		t.Fatalf("packages %q, %v; want one", all, err)
	}
	return all[0]
}

func TestDeb(t *testing.T) {
	deb := buildDeb(t)
	t.Run("contents", func(t *testing.T) {
		list := output(t, "dpkg-deb", "--contents", deb)
		for file, mode := range map[string]string{
			"/usr/bin/hosier":                                     "-rwxr-xr-x",
			"/etc/hosier/hosier.toml":                             "-rw-r--r--",
			"/usr/lib/systemd/system/hosier.service":              "-rw-r--r--",
			"/usr/lib/systemd/system/hosier.socket":               "-rw-r--r--",
			"/usr/share/man/man1/hosier.1.gz":                     "-rw-r--r--",
			"/usr/share/man/man1/hosier-serve.1.gz":               "-rw-r--r--",
			"/usr/share/man/man5/hosier.toml.5.gz":                "-rw-r--r--",
			"/usr/share/bash-completion/completions/hosier":       "-rw-r--r--",
			"/usr/share/fish/vendor_completions.d/hosier.fish":    "-rw-r--r--",
			"/usr/share/zsh/vendor-completions/_hosier":           "-rw-r--r--",
			"/usr/share/doc/hosier/copyright":                     "-rw-r--r--",
			"/usr/share/doc/hosier/examples/gateway.example.toml": "-rw-r--r--",
		} {
			if !hasFile(list, mode+" root/root", "."+file) {
				t.Errorf("there is no %s %s", mode, file)
			}
		}
		if t.Failed() {
			t.Log(list)
		}
		if got := output(t, "dpkg-deb", "--info", deb, "conffiles"); got != "/etc/hosier/hosier.toml\n" {
			t.Errorf("conffiles %q", got)
		}
	})
	t.Run("life", func(t *testing.T) { lives(t, deb) })
}

func hasFile(list, begin, end string) bool {
	for line := range strings.Lines(list) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, begin) && strings.HasSuffix(line, " "+end) {
			return true
		}
	}
	return false
}

// lives installs the package below a root of its own, upgrades it, and takes it away. A
// systemctl that only takes notes stands for systemd's.
func lives(t *testing.T, deb string) {
	if os.Getuid() != 0 {
		t.Skip("only root may give files away, as dpkg does")
	}
	root, bin := t.TempDir(), t.TempDir()
	for _, dir := range []string{"run/systemd/system", "var/lib/dpkg/updates", "var/lib/dpkg/info", "var/lib/private/hosier"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	calls, config := filepath.Join(bin, "calls"), filepath.Join(root, "etc/hosier/hosier.toml")
	write(t, filepath.Join(root, "var/lib/dpkg/status"), "", 0o644)
	write(t, filepath.Join(bin, "systemctl"), "#!/bin/sh\necho \"$@\" >>"+calls+"\n", 0o755)
	t.Setenv("PATH", bin+":"+os.Getenv("PATH")+":/usr/sbin:/sbin")
	step := func(want []string, args ...string) {
		t.Helper()
		write(t, calls, "", 0o644)
		output(t, append([]string{"dpkg", "--root=" + root, "--force-not-root,script-chrootless", "--log=/dev/null"}, args...)...)
		if got := strings.Split(strings.TrimSpace(read(t, calls)), "\n"); !slices.Equal(got, want) {
			t.Errorf("dpkg %v: systemctl was asked to %q, want %q", args, got, want)
		}
	}

	step([]string{"daemon-reload"}, "--install", deb) // and nothing starts
	write(t, config, "# mine\n", 0o644)
	step([]string{"daemon-reload", "try-restart hosier.service"}, "--install", deb)
	if got := read(t, config); got != "# mine\n" {
		t.Errorf("after the upgrade the configuration is %q", got)
	}
	step([]string{"disable --now hosier.socket hosier.service", "daemon-reload"}, "--remove", "hosier")
	if got := read(t, config); got != "# mine\n" {
		t.Errorf("after the removal the configuration is %q", got)
	}
	step([]string{""}, "--purge", "hosier")
	for _, gone := range []string{"etc/hosier", "usr/bin/hosier", "usr/share/doc/hosier", "var/lib/private/hosier"} {
		if _, err := os.Stat(filepath.Join(root, gone)); err == nil {
			t.Errorf("after the purge there is %s", gone)
		}
	}
}

func write(t *testing.T, file, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}
