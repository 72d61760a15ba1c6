package main

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
)

// patience bounds every wait in these tests. None of them measures time: it is only how
// long a machine may be busy with something else.
const patience = time.Minute

// TestMain makes this test binary stand for hosier in the scripts and wherever else the
// tests run the program.
func TestMain(m *testing.M) {
	testscript.Main(suite{m}, map[string]func(){"hosier": runAsHosier})
}

// runAsHosier ends with the test that started it, also where that was killed.
func runAsHosier() {
	parent := os.Getppid()
	go func() {
		for os.Getppid() == parent {
			time.Sleep(time.Second)
		}
		os.Exit(exitFailed)
	}()
	main()
}

// suite is all tests, in an environment that keeps them apart from this machine's own
// hosier. If they pass but leave goroutines behind, it fails.
type suite struct{ *testing.M }

func (m suite) Run() int {
	hangUpAsUsual()
	home, err := os.MkdirTemp("", "hosier")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(home)
	os.Setenv("XDG_STATE_HOME", home)
	os.Unsetenv("STATE_DIRECTORY")
	if os.Getenv("GORACE") == "" {
		// A program built with -race waits a second before it ends, and here a hundred run.
		os.Setenv("GORACE", "atexit_sleep_ms=0")
	}
	if code := m.M.Run(); code != 0 {
		return code
	}
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// TestScripts runs testdata/*.txtar: the program as its users see it. The commands that
// the scripts have beside those of testscript are in script_test.go.
func TestScripts(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the scripts send signals, and look at the permissions of files")
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		Cmds:                scriptCommands,
		Condition:           scriptCondition,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			for _, name := range []string{"GORACE", "XDG_STATE_HOME"} {
				e.Setenv(name, os.Getenv(name))
			}
			e.Values[worldKey{}] = &scriptWorld{processes: map[string]*process{}, conns: map[string]net.Conn{}}
			return nil
		},
	})
}
