//go:build !unix

package main

// hangUpAsUsual is about SIGHUP, which this system does not have.
func hangUpAsUsual() {}
