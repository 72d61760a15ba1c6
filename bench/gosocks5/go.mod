// This module keeps what only a comparison needs out of hosier's own.
module hosier/bench/gosocks5

go 1.26.0

require github.com/things-go/go-socks5 v0.1.1
