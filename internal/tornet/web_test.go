package tornet

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"testing"
)

func TestWeb(t *testing.T) {
	w, err := listenWeb()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.close() })
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	want, err := io.ReadAll(Bytes(100_000))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path   string
		status int
		body   string
	}{
		{"/", http.StatusOK, Greeting},
		{"/bytes/0", http.StatusOK, ""},
		{"/bytes/1", http.StatusOK, string(want[:1])},
		{"/bytes/100000", http.StatusOK, string(want)},
		{"/bytes/-1", http.StatusBadRequest, "the page is /bytes/N, N a number of bytes\n"},
		{"/bytes/many", http.StatusBadRequest, "the page is /bytes/N, N a number of bytes\n"},
		{"/other", http.StatusNotFound, "404 page not found\n"},
	} {
		t.Run(c.path, func(t *testing.T) {
			response, err := client.Get(fmt.Sprintf("http://%s%s", w.addr, c.path))
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if err != nil || response.StatusCode != c.status || !bytes.Equal(body, []byte(c.body)) {
				t.Errorf("status %d, %d bytes, %v", response.StatusCode, len(body), err)
			}
		})
	}
	for _, host := range otherHosts() {
		response, err := client.Get(fmt.Sprintf("http://%s/", joinPort(host, w.addr.Port())))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
	}
}
