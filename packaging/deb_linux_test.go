package packaging_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"hosier/internal/debiantest"
)

// buildDeb makes the package. What makes it, packaging/build's nfpm, is of some hundred
// modules: where they are not compiled yet, this takes minutes, which no limit but that of
// the whole test bounds.
func buildDeb(t *testing.T) (deb string) {
	t.Helper()
	debiantest.Program(t, "dpkg", "dpkg")
	nfpm := regexp.MustCompile(`github\.com/goreleaser/nfpm\S+`).FindString(read(t, "build"))
	if said, err := exec.CommandContext(t.Context(), "go", "run", nfpm, "--version").CombinedOutput(); err != nil {
		debiantest.Unable(t, fmt.Sprintf("packaging/build's %s cannot be had: %v: %s", nfpm, err, said))
	}
	dir := t.TempDir()
	build(t, dir, "deb")
	all, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(all) != 1 {
		t.Fatalf("packages %q, %v; want one", all, err)
	}
	return all[0]
}

func TestDeb(t *testing.T) {
	t.Parallel()
	deb := buildDeb(t)
	t.Run("contents", func(t *testing.T) {
		list := output(t, "dpkg-deb", "--contents", deb)
		for file, mode := range map[string]string{
			"/usr/bin/hosier":                                     "-rwxr-xr-x",
			"/etc/hosier/hosier.toml":                             "-rw-r--r--",
			"/usr/lib/systemd/system/hosier.service":              "-rw-r--r--",
			"/usr/lib/systemd/system/hosier.socket":               "-rw-r--r--",
			"/usr/lib/sysusers.d/hosier.conf":                     "-rw-r--r--",
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

func write(t *testing.T, file, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}
