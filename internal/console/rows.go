package console

import (
	"slices"

	"hosier/egress/tor"
	"hosier/internal/config"
	"hosier/internal/leaks"
	"hosier/internal/rules"
	"hosier/internal/telemetry"
)

// blank is what a template makes the row of that a script copies.
func blank(what string) any {
	switch what {
	case "connection":
		return openConnection{}
	case "failure":
		return telemetry.Entry{}
	case "egress":
		return Egress{}
	case "tor":
		return Tor{}
	case "circuit":
		return tor.Circuit{}
	case "name-server":
		return NameServer{}
	case "rule":
		return rules.Listed{}
	case "leak":
		return leaks.Entry{}
	case "minute":
		return telemetry.Minute{}
	}
	panic("no blank " + what)
}

func reverse(minutes []telemetry.Minute) []telemetry.Minute {
	r := slices.Clone(minutes)
	slices.Reverse(r)
	return r
}

// isSet are the settings that somebody has made, and isUnset those that have not been.
func isSet(all []config.Setting) []config.Setting   { return settings(all, true) }
func isUnset(all []config.Setting) []config.Setting { return settings(all, false) }

func settings(all []config.Setting, made bool) (some []config.Setting) {
	for _, s := range all {
		if (s.At != "") == made {
			some = append(some, s)
		}
	}
	return some
}
