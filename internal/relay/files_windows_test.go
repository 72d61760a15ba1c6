package relay

// fileLimit returns how many sockets a test may have.
func fileLimit() int { return 5000 }
