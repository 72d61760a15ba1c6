package tornet

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
)

// rsaBits is the size of every RSA key here: what Tor asks of a relay's
// identity, and quick to make. Nothing on loopback needs a stronger one.
const rsaBits = 1024

// relayKeys are the long-term keys of a relay. They are made here, not by the
// daemon, because the consensus that names them is written before it runs.
type relayKeys struct {
	identity *rsa.PrivateKey
	master   ed25519.PrivateKey
	onion    *ecdh.PrivateKey
}

func newRelayKeys() (relayKeys, error) {
	identity, err := rsa.GenerateKey(rand.Reader, rsaBits)
	if err != nil {
		return relayKeys{}, fmt.Errorf("make a relay identity key: %w", err)
	}
	_, master, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return relayKeys{}, fmt.Errorf("make a relay master key: %w", err)
	}
	onion, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return relayKeys{}, fmt.Errorf("make a relay onion key: %w", err)
	}
	return relayKeys{identity, master, onion}, nil
}

// files returns the keys as a daemon keeps them, by the files' names.
func (k relayKeys) files() map[string][]byte {
	return map[string][]byte{
		"secret_id_key":                privatePEM(k.identity),
		"secret_onion_key_ntor":        tagged("c25519v1: onion", clamp(k.onion.Bytes()), k.onion.PublicKey().Bytes()),
		"ed25519_master_id_secret_key": tagged("ed25519v1-secret: type0", expanded(k.master)),
		"ed25519_master_id_public_key": tagged("ed25519v1-public: type0", k.public()),
	}
}

// public returns the relay's Ed25519 identity.
func (k relayKeys) public() ed25519.PublicKey {
	return k.master.Public().(ed25519.PublicKey)
}

// tagged returns the contents of one of tor's binary key files: a header of 32
// bytes that names the kind, and the key.
func tagged(kind string, parts ...[]byte) []byte {
	b := make([]byte, 32)
	copy(b, "== "+kind+" ==")
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// expanded returns the form in which tor stores an Ed25519 secret: not the
// seed but what RFC 8032 section 5.1.5 makes of it.
func expanded(k ed25519.PrivateKey) []byte {
	h := sha512.Sum512(k.Seed())
	clamp(h[:32])
	return h[:]
}

// clamp fixes the bits of a Curve25519 secret that RFC 7748 section 5 fixes.
// Go does so when it uses a key; tor wants it done in the file.
func clamp(k []byte) []byte {
	k[0] &= 248
	k[31] = k[31]&63 | 64
	return k
}

// authorityKeys are the two keys of a directory authority, apart from its keys
// as a relay: the identity vouches for the signing key, which signs consensuses.
type authorityKeys struct {
	identity, signing *rsa.PrivateKey
}

func newAuthorityKeys() (*authorityKeys, error) {
	identity, err := rsa.GenerateKey(rand.Reader, rsaBits)
	if err != nil {
		return nil, fmt.Errorf("make an authority identity key: %w", err)
	}
	signing, err := rsa.GenerateKey(rand.Reader, rsaBits)
	if err != nil {
		return nil, fmt.Errorf("make an authority signing key: %w", err)
	}
	return &authorityKeys{identity, signing}, nil
}

// fingerprint returns the digest by which Tor names an RSA key.
func fingerprint(k *rsa.PrivateKey) []byte {
	d := sha1.Sum(x509.MarshalPKCS1PublicKey(&k.PublicKey))
	return d[:]
}

// signature signs a digest as Tor does: PKCS #1 v1.5 without the name of the
// hash. The block's label is kind.
func signature(k *rsa.PrivateKey, digest []byte, kind string) (string, error) {
	s, err := rsa.SignPKCS1v15(nil, k, crypto.Hash(0), digest)
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: s})), nil
}

func privatePEM(k *rsa.PrivateKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k)})
}

func publicPEM(k *rsa.PrivateKey) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&k.PublicKey)}))
}

// writeFiles makes the directory dir, for its owner only as tor demands, and
// the files in it.
func writeFiles(dir string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}
