package packaging_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hosier/internal/debiantest"
)

// image is a container of the image that packaging/Dockerfile makes.
type image struct {
	store     []string // buildah, and where it keeps things
	container string
	config    struct {
		User       string
		Env        []string
		Entrypoint []string
		Cmd        []string
	}
}

// isImage makes the image of what packaging/build left in dir, without any registry, and
// has it run.
func isImage(t *testing.T, dir string) {
	debiantest.Program(t, "buildah", "buildah")
	if os.Getuid() != 0 {
		debiantest.Unable(t, "only root may run a container without a daemon")
	}
	i := &image{store: []string{"buildah", "--root", t.TempDir(), "--runroot", t.TempDir(), "--storage-driver", "vfs"}}
	i.buildah(t, "bud", "--isolation", "chroot", "--pull-never", "--file", "Dockerfile", "--tag", "hosier", dir)
	var said struct {
		OCIv1 struct{ Config json.RawMessage }
	}
	if err := json.Unmarshal([]byte(i.buildah(t, "inspect", "--type", "image", "hosier")), &said); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(said.OCIv1.Config, &i.config); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(i.config.User, i.config.Entrypoint, i.config.Cmd); got != "65532:65532[/hosier] [serve]" {
		t.Errorf("user, entry point and command are %s", got)
	}
	i.container = strings.TrimSpace(i.buildah(t, "from", "--pull-never", "hosier"))
	t.Run("serves", i.serves)
	t.Run("no-configuration", i.refuses)
}

func (i *image) buildah(t *testing.T, words ...string) string {
	t.Helper()
	return output(t, append(i.store, words...)...)
}

// run is the entry point of the image, with the directory at /etc/hosier.
func (i *image) run(etc string, words ...string) *exec.Cmd {
	all := append([]string{}, i.store...)
	all = append(all, "run", "--isolation", "chroot", "--volume", etc+":/etc/hosier:ro", i.container, "--")
	all = append(append(all, i.config.Entrypoint...), words...)
	return exec.Command(all[0], all[1:]...)
}

func (i *image) serves(t *testing.T) {
	etc := t.TempDir()
	write(t, filepath.Join(etc, "hosier.toml"), "listen = \"127.0.0.1:0\"\nvia = \"direct\"\n", 0o644)
	if err := os.Chmod(etc, 0o755); err != nil {
		t.Fatal(err)
	}
	s := serve(t, i.run(etc, append(i.config.Cmd, "--config", "/etc/hosier/hosier.toml")...))
	addr := s.addr(t, 0)
	pid := descendant(s.cmd.Process.Pid, func(pid int) bool {
		name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		return string(name) == "hosier\n"
	})
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil || !strings.Contains(string(status), "\nUid:\t65532\t65532\t65532\t65532\nGid:\t65532\t65532\t65532\t65532\n") {
		t.Errorf("process %d: %v: %s", pid, err, status)
	}
	fetch(t, addr)
	output(t, i.run(etc, "reload").Args...) // finds it by its state directory
	output(t, i.run(etc, "check", "/etc/hosier/hosier.toml").Args...)
	s.end(t, pid)
}

func (i *image) refuses(t *testing.T) {
	said, err := i.run(t.TempDir(), append(i.config.Cmd, "--config", "/etc/hosier/hosier.toml")...).CombinedOutput()
	exit := (*exec.ExitError)(nil)
	if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(string(said), "/etc/hosier/hosier.toml") {
		t.Errorf("without a configuration: %v: %s", err, said)
	}
}
