package main

import (
	"strings"
	"testing"

	"hosier/internal/config"
)

// Paths that the system does not take are refused before anything is opened.
func TestLongPath(t *testing.T) {
	path := "/" + strings.Repeat("x", 200)
	for _, key := range []string{"listen", "admin"} {
		_, err := config.Parse("f", []byte("via = \"direct\"\n"+key+" = \"unix:"+path+"\"\n"), config.Options{})
		if err == nil || !strings.Contains(err.Error(), "f:2:") || !strings.Contains(err.Error(), "bytes") {
			t.Errorf("%s: %v", key, err)
		}
	}
}
