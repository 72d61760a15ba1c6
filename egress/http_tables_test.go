package egress

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"hosier/socks"
)

// The tables of docs/upstreams.md are those of the code.
func TestHTTPTables(t *testing.T) {
	doc, err := os.ReadFile("../docs/upstreams.md")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]socks.Status{}
	for value, s := range torReasons {
		want[value] = s
	}
	for value, s := range proxyErrors {
		want[value] = s
	}
	var order []string
	for _, w := range words {
		var row []string
		for _, phrase := range w.phrases {
			row = append(row, "`"+phrase+"`")
			want[phrase] = w.status
		}
		order = append(order, fmt.Sprintf("| %s | %02X |", strings.Join(row, ", "), byte(w.status)))
	}
	for code := 100; code < 600; code++ {
		h := answerHead{code: code}
		want[fmt.Sprint(code)] = h.status(func() string { return "" })
	}

	got := map[string]bool{}
	for _, row := range regexp.MustCompile(`(?m)^   \| (.*) \| ([0-9A-F]{2}) \|$`).FindAllStringSubmatch(string(doc), -1) {
		for cell := range strings.SplitSeq(row[1], ", ") {
			cell = strings.Trim(cell, "`")
			switch s, known := want[cell]; {
			case strings.HasPrefix(cell, "any other"), strings.HasPrefix(cell, "500 and 502"):
			case !known || fmt.Sprintf("%02X", byte(s)) != row[2]:
				t.Errorf("%s is %s in the page, %02X in the code", cell, row[2], byte(s))
			}
			got[cell] = true
		}
	}
	for value, s := range want {
		if number := len(value) == 3 && value[0] <= '9'; !got[value] && (!number || s != socks.GeneralFailure) {
			t.Errorf("%s (%02X) is not in the page", value, byte(s))
		}
	}
	rest := string(doc)
	for _, row := range order {
		_, after, found := strings.Cut(rest, row)
		if !found {
			t.Fatalf("the page lacks, or has in another place, the row\n%s", row)
		}
		rest = after
	}
}
