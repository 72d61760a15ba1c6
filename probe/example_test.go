package probe_test

import (
	"context"
	"fmt"
	"log"

	"hosier/probe"
)

// A server's own tests can hold it to every must of RFC 1928.
func Example() {
	report, err := probe.Run(context.Background(), probe.Config{
		Proxy:   "127.0.0.1:1080",
		Profile: probe.RFC1928,
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range report.Results {
		if r.Outcome == probe.Failed && r.Check.Severity == probe.Must {
			fmt.Printf("%s: %s (%s)\n", r.Check.ID, r.Reason, r.Check.Clause)
		}
	}
}
