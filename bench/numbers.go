//go:build unix

package main

import (
	"slices"
	"strconv"
)

// median returns the middle value, or the mean of the two middle ones; 0 of none.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}

// each returns a metric of all rounds that have it.
func each(rounds []map[string]float64, key string) (all []float64) {
	for _, v := range rounds {
		if x, ok := v[key]; ok {
			all = append(all, x)
		}
	}
	return all
}

// perRound returns the ratios of a metric to the base's of the same round.
func perRound(rounds, base []map[string]float64, key string) (all []float64) {
	for i := range min(len(rounds), len(base)) {
		x, ok := rounds[i][key]
		if b := base[i][key]; ok && b > 0 {
			all = append(all, x/b)
		}
	}
	return all
}

func short(x float64) string {
	if x >= 100 || x == float64(int(x)) {
		return strconv.FormatFloat(x, 'f', 0, 64)
	}
	return strconv.FormatFloat(x, 'f', 2, 64)
}
