package console

import "slices"

// blank is what a template makes the row of that a script copies.
func blank(what string) any {
	switch what {
	case "connection":
		return openConnection{}
	case "failure":
		return Failure{}
	case "egress":
		return Egress{}
	case "tor":
		return Tor{}
	case "circuit":
		return Circuit{}
	case "rule":
		return Rule{}
	case "leak":
		return Leak{}
	case "minute":
		return Minute{}
	}
	panic("no blank " + what)
}

func reverse(minutes []Minute) []Minute {
	r := slices.Clone(minutes)
	slices.Reverse(r)
	return r
}

// isSet are the settings that somebody has made, and isUnset those that have not been.
func isSet(all []Setting) []Setting   { return settings(all, true) }
func isUnset(all []Setting) []Setting { return settings(all, false) }

func settings(all []Setting, made bool) (some []Setting) {
	for _, s := range all {
		if (s.At != "") == made {
			some = append(some, s)
		}
	}
	return some
}
