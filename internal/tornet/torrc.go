package tornet

import (
	"fmt"
	"os"
	"strings"
)

// membershipTorrc returns the lines that make a tor a member of the network of
// the relays. The interval is how long it may put off fetching the last few
// descriptors; a Tor network's own would be minutes.
func membershipTorrc(relays []*relay) string {
	var b strings.Builder
	fmt.Fprintf(&b, `TestingTorNetwork 1
TestingClientMaxIntervalWithoutRequest 1
GeoIPFile %s
GeoIPv6File %[1]s
`, os.DevNull)
	for _, r := range sorted(relays, (*relay).voter) {
		fmt.Fprintf(&b, "DirAuthority %s orport=%d no-v2 v3ident=%X %s:%d %X\n",
			r.daemon.name, r.orPort(), r.voter(), r.daemon.host, r.dirPort(), r.fingerprint())
	}
	return b.String()
}

// torrc returns the lines of every daemon that runs under this process, and
// ends when it does.
func (d *daemon) torrc() string {
	return fmt.Sprintf(`DataDirectory %s
Log notice stdout
Log notice file %[1]s/log
SafeLogging 0
AvoidDiskWrites 1
NumCPUs 1
ShutdownWaitLength 0
__OwningControllerProcess %[2]d
`, d.dir, os.Getpid())
}

// torrc returns the lines of a relay. resolver names the file that tells an
// exit whom to ask for names.
func (r *relay) torrc(d directory, resolver string) string {
	text := fmt.Sprintf(`Nickname %s
ContactInfo tornet
Address %s
ORPort %[2]s:%[3]d IPv4Only
AssumeReachable 1
SocksPort 0
`, r.daemon.name, r.daemon.host, r.orPort())
	if r.authority == nil {
		return text + exitTorrc(resolver)
	}
	return text + fmt.Sprintf("DirPort %s:%d\n", r.daemon.host, r.dirPort()) + authorityTorrc(d)
}

// exitTorrc returns the lines of an exit to anywhere, loopback included.
func exitTorrc(resolver string) string {
	return fmt.Sprintf(`ExitRelay 1
IPv6Exit 1
ExitPolicyRejectPrivate 0
ExitPolicyRejectLocalInterfaces 0
ExitPolicy accept *:*
ServerDNSResolvConfFile %s
ServerDNSDetectHijacking 0
ServerDNSAllowBrokenConfig 1
ServerDNSAllowNonRFC953Hostnames 1
ServerDNSSearchDomains 0
`, resolver)
}

// authorityTorrc returns the lines of an authority. Its votes fall where the
// directory's end: the intervals begin at midnight and the offset.
func authorityTorrc(d directory) string {
	interval := int64(votingInterval.Seconds())
	return fmt.Sprintf(`AuthoritativeDirectory 1
V3AuthoritativeDirectory 1
ExitPolicy reject *:*
V3AuthVotingInterval %d seconds
TestingV3AuthInitialVotingInterval %[1]d seconds
TestingV3AuthVotingStartOffset %d seconds
TestingDirAuthVoteExit *
TestingDirAuthVoteGuard *
TestingDirAuthVoteHSDir *
ConsensusParams %s
`, interval, d.start.Unix()%interval, params)
}
