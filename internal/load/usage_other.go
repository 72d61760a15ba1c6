//go:build !linux

package load

import "errors"

func measure(pids []int, _ bool) (usage, error) {
	if len(pids) == 0 {
		return usage{}, errNoProcess
	}
	return usage{}, errors.ErrUnsupported
}

func pin([]int, int) (func(), error) { return nil, errors.ErrUnsupported }

// LastCPU returns -1: here nothing can be pinned.
func LastCPU() int { return -1 }
