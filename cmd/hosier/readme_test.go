//go:build unix

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What README shows of the gateway of a local network is what the program says about it.
func TestReadme(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	gateway := regexp.MustCompile("(?s)```toml\n(.*?)```\n\n(.*?)\n\n`explain`").FindSubmatch(readme)
	if gateway == nil {
		t.Fatal("README has no gateway, with what is said about it")
	}
	const file = "/etc/hosier/users"
	text := string(gateway[1])
	if n := strings.Count(text, "\n"); n > 12 || !strings.Contains(text, file) {
		t.Errorf("%d lines of TOML:\n%s", n, text)
	}
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "users"), quickUser)
	writeFile(t, filepath.Join(dir, "hosier.toml"), strings.Replace(text, file, "users", 1))
	ran := 0
	for _, shown := range regexp.MustCompile(`(?m)^    \$ hosier (check|explain) (.*)\n((?:    [^$].*\n)+)`).FindAllStringSubmatch(string(gateway[2])+"\n", -1) {
		ran++
		var out bytes.Buffer
		args := strings.Fields(strings.Replace(shown[2], "hosier.toml", filepath.Join(dir, "hosier.toml"), 1))
		if code := run(t.Context(), append([]string{shown[1]}, args...), &out, &out); code != 0 {
			t.Errorf("%s %s ends with %d", shown[1], shown[2], code)
		}
		got := strings.ReplaceAll(out.String(), dir+string(filepath.Separator), "")
		if want := regexp.MustCompile(`(?m)^    `).ReplaceAllString(shown[3], ""); got != want {
			t.Errorf("README says\n%s\nand %s\n%s", want, shown[1], got)
		}
	}
	if ran != 2 {
		t.Errorf("%d commands are shown, want check and explain", ran)
	}
}
