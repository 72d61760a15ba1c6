// Command gosocks5 is the server of things-go/go-socks5 with its defaults, to compare with.
package main

import (
	"log"
	"os"

	"github.com/things-go/go-socks5"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: gosocks5 HOST:PORT")
	}
	log.Fatal(socks5.NewServer().ListenAndServe("tcp", os.Args[1]))
}
