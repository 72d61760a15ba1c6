package relay

import (
	"testing"
	"unsafe"
)

// What a relay that stands takes of memory is the record of its loop and a place in a table.
// Go's next classes of sizes are 176 and 192.
func TestRecordIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(wire{}); n > 176 {
		t.Errorf("the record of a relay has %d bytes", n)
	}
	if n := unsafe.Sizeof(place{}); n > 16 {
		t.Errorf("the place of a relay has %d bytes", n)
	}
}
