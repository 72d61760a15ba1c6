package load

import (
	"slices"
	"time"
)

// Values are what a turn gave, by the name of the metric. What could not be measured is
// not there.
type Values map[string]float64

// median returns the middle value, or the mean of the two middle ones; ok is false if
// there is none.
func median(v []float64) (m float64, ok bool) {
	if len(v) == 0 {
		return 0, false
	}
	v = slices.Sorted(slices.Values(v))
	n := len(v)
	if n%2 == 1 {
		return v[n/2], true
	}
	return (v[n/2-1] + v[n/2]) / 2, true
}

// medians returns the median of each metric over the rounds that have it.
func medians(rounds []Values) Values {
	return over(rounds, func(round int, key string) (float64, bool) {
		x, ok := rounds[round][key]
		return x, ok
	})
}

// ratios returns, for each metric, the median of its ratios to the base's value of the
// same round.
func ratios(rounds, base []Values) Values {
	return over(rounds, func(round int, key string) (float64, bool) {
		if round >= len(base) {
			return 0, false
		}
		x, ok := rounds[round][key]
		b, has := base[round][key]
		return x / b, ok && has && b != 0
	})
}

// over gathers each metric of the rounds by get, and returns the medians.
func over(rounds []Values, get func(round int, key string) (float64, bool)) Values {
	keys := map[string]bool{}
	for _, v := range rounds {
		for key := range v {
			keys[key] = true
		}
	}
	out := Values{}
	for key := range keys {
		var all []float64
		for i := range rounds {
			if x, ok := get(i, key); ok {
				all = append(all, x)
			}
		}
		if m, ok := median(all); ok {
			out[key] = m
		}
	}
	return out
}

// percentile returns the value that p per cent of the sorted times do not exceed.
func percentile(sorted []time.Duration, p int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)*p/100, len(sorted)-1)]
}

// latencies puts the 50th and 99th percentile of the times, in µs, under prefix.
func (v Values) latencies(prefix string, times []time.Duration) {
	if len(times) == 0 {
		return
	}
	slices.Sort(times)
	v[prefix+"p50_us"] = micros(percentile(times, 50))
	v[prefix+"p99_us"] = micros(percentile(times, 99))
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// per puts total/n under key, unless n is 0.
func (v Values) per(key string, total, n float64) {
	if n > 0 {
		v[key] = total / n
	}
}
