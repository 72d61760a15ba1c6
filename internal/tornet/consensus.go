package tornet

import (
	"bytes"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"time"
)

const (
	// votingInterval is how long a consensus is fresh, the longest that an
	// authority agrees to vote after. Few tests live to see a vote.
	votingInterval = 30 * time.Minute

	// lifetime is how long a consensus is of use.
	lifetime = 6 * votingInterval

	// params is the consensus's advice to clients. It keeps them from giving up
	// circuits that a busy machine is slow to build.
	params = "cbtdisabled=1"

	// protocols is what every tor since 0.4.7 speaks, and all that a relay needs
	// to offer for circuits, directories and onion services.
	protocols = "Cons=2 Desc=2 DirCache=2 FlowCtrl=1-2 HSDir=2 HSIntro=4-5 HSRend=2 " +
		"Link=4-5 LinkAuth=3 Microdesc=2 Padding=2 Relay=2-4"

	// weights makes a relay's chance to be in a circuit depend on nothing but
	// its flags.
	weights = "Wbd=10000 Wbe=10000 Wbg=10000 Wbm=10000 Wdb=10000 Web=10000 Wed=10000 Wee=10000 " +
		"Weg=10000 Wem=10000 Wgb=10000 Wgd=10000 Wgg=10000 Wgm=10000 Wmb=10000 Wmd=10000 " +
		"Wme=10000 Wmg=10000 Wmm=10000"
)

// directory is what every member of the network knows of the relays: the
// documents that a daemon else fetches after the authorities' vote.
type directory struct {
	start                                     time.Time
	consensus, certificates, microdescriptors []byte
}

// newDirectory writes the directory of the relays as it would stand after a
// vote a minute ago.
func newDirectory(relays []*relay) (directory, error) {
	d := directory{start: time.Now().UTC().Add(-time.Minute).Truncate(time.Second)}
	for _, r := range relays {
		d.microdescriptors = fmt.Appendf(d.microdescriptors, "@last-listed %s\n%s", stamp(d.start), r.microdescriptor())
	}
	for _, r := range sorted(relays, (*relay).voter) {
		c, err := r.certificate(d.start)
		if err != nil {
			return directory{}, err
		}
		d.certificates = append(d.certificates, c...)
	}
	var err error
	d.consensus, err = signedConsensus(relays, d.start)
	return d, err
}

// write puts the directory where a daemon keeps what it has fetched.
func (d directory) write(dir string) error {
	return writeFiles(dir, map[string][]byte{
		"cached-microdesc-consensus": d.consensus,
		"cached-certs":               d.certificates,
		"cached-microdescs":          d.microdescriptors,
	})
}

// signedConsensus returns the consensus in its microdescriptor flavour
// (dir-spec, "Network status documents" and "Microdescriptor consensus").
func signedConsensus(relays []*relay, start time.Time) ([]byte, error) {
	voters := sorted(relays, (*relay).voter)
	text := consensusHead(start)
	for _, r := range voters {
		text = fmt.Appendf(text, "dir-source %s %X %s %[3]s %[4]d %d\ncontact tornet\nvote-digest %[2]X\n",
			r.daemon.name, r.voter(), r.daemon.host, r.dirPort(), r.orPort())
	}
	for _, r := range sorted(relays, (*relay).fingerprint) {
		text = append(text, r.status(start)...)
	}
	text = fmt.Appendf(text, "directory-footer\nbandwidth-weights %s\n", weights)
	// What is signed ends with the space after the first signature's keyword.
	digest := sha256.Sum256(fmt.Appendf(text, "directory-signature "))
	for _, r := range voters {
		s, err := signature(r.authority.signing, digest[:], "SIGNATURE")
		if err != nil {
			return nil, err
		}
		text = fmt.Appendf(text, "directory-signature sha256 %X %X\n%s", r.voter(), fingerprint(r.authority.signing), s)
	}
	return text, nil
}

// consensusHead returns the part of a consensus that names no relay.
func consensusHead(start time.Time) []byte {
	random := make([]byte, 64)
	// Read never fails.
	_, _ = rand.Read(random)
	return fmt.Appendf(nil, `network-status-version 3 microdesc
vote-status consensus
consensus-method 32
valid-after %s
fresh-until %s
valid-until %s
voting-delay 20 20
client-versions
server-versions
known-flags Authority Exit Fast Guard HSDir Running Stable V2Dir Valid
params %s
shared-rand-previous-value 9 %s
shared-rand-current-value 9 %s
`, stamp(start), stamp(start.Add(votingInterval)), stamp(start.Add(lifetime)), params,
		base64.StdEncoding.EncodeToString(random[:32]), base64.StdEncoding.EncodeToString(random[32:]))
}

// status returns the relay's entry in the consensus.
func (r *relay) status(start time.Time) []byte {
	digest := sha256.Sum256(r.microdescriptor())
	return fmt.Appendf(nil, "r %s %s %s %s %d %d\nm %s\ns %s\nv Tor\npr %s\nw Bandwidth=1000\n",
		r.daemon.name, unpadded(r.fingerprint()), stamp(start), r.daemon.host, r.orPort(), r.dirPort(),
		unpadded(digest[:]), r.flags(), protocols)
}

// microdescriptor returns what clients need to build circuits through the
// relay. The key at its top must be there, but no client has a use for it since
// circuits are made with the second: any will do.
func (r *relay) microdescriptor() []byte {
	text := fmt.Appendf(nil, "onion-key\n%sntor-onion-key %s\n",
		publicPEM(r.keys.identity), unpadded(r.keys.onion.PublicKey().Bytes()))
	if r.authority == nil {
		text = append(text, "p accept 1-65535\np6 accept 1-65535\n"...)
	}
	return fmt.Appendf(text, "id ed25519 %s\n", unpadded(r.keys.public()))
}

// certificate returns the document in which an authority's identity vouches for
// its signing key (dir-spec, "Key certificates").
func (r *relay) certificate(start time.Time) ([]byte, error) {
	identity := r.voter()
	cross, err := signature(r.authority.signing, identity, "ID SIGNATURE")
	if err != nil {
		return nil, err
	}
	text := fmt.Appendf(nil, `dir-key-certificate-version 3
dir-address %s:%d
fingerprint %X
dir-key-published %s
dir-key-expires %s
dir-identity-key
%sdir-signing-key
%sdir-key-crosscert
%sdir-key-certification
`, r.daemon.host, r.dirPort(), identity, stamp(start.AddDate(0, -1, 0)), stamp(start.AddDate(1, 0, 0)),
		publicPEM(r.authority.identity), publicPEM(r.authority.signing), cross)
	digest := sha1.Sum(text)
	s, err := signature(r.authority.identity, digest[:], "SIGNATURE")
	return append(text, s...), err
}

// sorted returns the relays that have the key, in its order, as the documents
// list them.
func sorted(relays []*relay, key func(*relay) []byte) []*relay {
	out := slices.DeleteFunc(slices.Clone(relays), func(r *relay) bool { return key(r) == nil })
	slices.SortFunc(out, func(a, b *relay) int { return bytes.Compare(key(a), key(b)) })
	return out
}

// stamp returns a time, which is in UTC, as the documents write it.
func stamp(t time.Time) string { return t.Format(time.DateTime) }

// unpadded returns the form in which the documents write keys and digests.
func unpadded(b []byte) string { return base64.RawStdEncoding.EncodeToString(b) }
