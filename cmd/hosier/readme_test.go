//go:build unix

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"hosier/internal/users"
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

// The lines that README has for a file of users make one that hosier does not warn of.
func TestReadmeUsers(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "hosier")
	var lines []string // the directory and the file come last in README, and are made first
	for _, m := range regexp.MustCompile(`(?m)^    # (.*/etc/hosier.*)$`).FindAllSubmatch(readme, -1) {
		line := strings.NewReplacer("/etc/hosier", dir, "GROUP", strconv.Itoa(os.Getgid())).Replace(string(m[1]))
		if strings.HasPrefix(line, "hosier ") {
			lines = append(lines, line)
		} else {
			lines = slices.Insert(lines, max(len(lines)-1, 0), line)
		}
	}
	for _, line := range lines {
		if got := runProgram(t, "secret\n", "sh", "-c", line); got.code != 0 {
			t.Fatalf("%s ends with %d: %s", line, got.code, got.stderr)
		}
	}
	list, err := users.Load(filepath.Join(dir, "users"))
	if err != nil || len(list.Warnings) > 0 || len(lines) != 3 {
		t.Errorf("%d lines make a file of users with %v and the warnings %q", len(lines), err, list.Warnings)
	}
}
