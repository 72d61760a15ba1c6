package tornet

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"
)

// ownerEnv makes this program start a network in the directory it names, print
// the daemons' pids and wait for its end.
const ownerEnv = "TORNET_TEST_OWNER"

func own(dir string) {
	n, err := Start(context.Background(), Options{Dir: dir, Clients: 1})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for _, pid := range n.pids() {
		fmt.Println(pid)
	}
	fmt.Println()
	select {}
}

// A tor looks for its owner every 15 seconds. While these pass, other tests run.
func TestOwnerKilled(t *testing.T) {
	pids := killedOwner(t)
	died := time.Now()
	t.Parallel()
	eventually(t, "every daemon of the killed process gone", func() bool { return !slices.ContainsFunc(pids, alive) })
	t.Logf("seen that all daemons ended %v after their owner", time.Since(died).Round(time.Millisecond))
}

// killedOwner starts a network in another process, kills that and returns the
// daemons' pids.
func killedOwner(t *testing.T) []int {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), ownerEnv+"="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pids []int
	for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != ""; {
		pid, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Error(lines.Text())
		}
		pids = append(pids, pid)
	}
	cmd.Process.Kill()
	cmd.Wait()
	if len(pids) != authorities+exits+1 {
		t.Fatalf("the owner started %d daemons", len(pids))
	}
	return pids
}
