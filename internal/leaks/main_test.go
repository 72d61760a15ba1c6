package leaks

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain makes this test binary the client of some tests, too.
func TestMain(m *testing.M) {
	if proxy := os.Getenv("LEAKS_TEST_CLIENT"); proxy != "" {
		os.Exit(beClient(proxy))
	}
	goleak.VerifyTestMain(m)
}
