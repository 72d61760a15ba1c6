package users

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func b64(b []byte) string { return base64.RawStdEncoding.EncodeToString(b) }

const (
	goodArgon2 = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$MDEyMzQ1Njc4OTAxMjM0NQ"
	goodBcrypt = "$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC" // of the password myPassword, from the page of htpasswd
)

func TestLines(t *testing.T) {
	t.Parallel()
	kind := `plain text, MD5 and SHA crypt are not accepted: make the hash with "hosier hash-password"`
	for _, c := range []struct{ name, line, want string }{
		{"argon2id", "alice:" + goodArgon2, ""},
		{"bcrypt 2y", "alice:" + goodBcrypt, ""},
		{"bcrypt 2a", "alice:" + strings.Replace(goodBcrypt, "2y", "2a", 1), ""},
		{"bcrypt 2b", "alice:" + strings.Replace(goodBcrypt, "2y", "2b", 1), ""},
		{"CRLF", "alice:" + goodArgon2 + "\r", ""},
		{"space inside the name", "alice b:" + goodArgon2, ""},
		{"a name of 255 bytes", strings.Repeat("a", 255) + ":" + goodArgon2, ""},
		{"name in other letters", "алиса:" + goodArgon2, ""},

		{"no colon", "hunter2", `users:1: not "name:hash": make the line with "hosier hash-password --user NAME"`},
		{"no name", ":" + goodArgon2, "users:1: user has no name"},
		{"a name of 256 bytes", strings.Repeat("a", 256) + ":" + goodArgon2, "users:1: name of the user has 256 bytes; SOCKS5 carries at most 255"},
		{"space after the name", "alice :" + goodArgon2, `users:1: user "alice ": the name has a space at its beginning or end`},
		{"control character", "a\x1b[2J:" + goodArgon2, `users:1: user "a\x1b[2J": the name has a character that cannot be printed`},
		{"not UTF-8", "a\xff:" + goodArgon2, `users:1: user "a\xff": the name has a character that cannot be printed`},
		{"byte order mark", "\ufeffalice:" + goodArgon2, ""},
		{"byte order mark inside", "alice\ufeff:" + goodArgon2, `users:1: user "alice\ufeff": the name has a character that cannot be printed`},
		{"UTF-16", "\xff\xfea\x00:\x00", "users:1: this file is UTF-16, and must be UTF-8: save it as UTF-8"},
		{"UTF-16, the other order", "\xfe\xff\x00a\x00:", "users:1: this file is UTF-16, and must be UTF-8: save it as UTF-8"},

		{"no hash", "alice:", `users:1: user "alice": ` + kind},
		{"plain", "alice:hunter2", `users:1: user "alice": ` + kind},
		{"MD5", "alice:$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/", `users:1: user "alice": ` + kind},
		{"SHA1", "alice:{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=", `users:1: user "alice": ` + kind},
		{"SHA crypt", "alice:$6$salt$hash", `users:1: user "alice": ` + kind},
		{"argon2i", "alice:" + strings.Replace(goodArgon2, "2id", "2i", 1), `users:1: user "alice": ` + kind},
		{"bcrypt 2x", "alice:" + strings.Replace(goodBcrypt, "2y", "2x", 1), `users:1: user "alice": ` + kind},
		{"space before the hash", "alice: " + goodArgon2, `users:1: user "alice": ` + kind},

		{"argon2id cut", "alice:" + goodArgon2[:30], `users:1: user "alice": argon2id hash is not complete: it has 4 parts, want 5`},
		{"argon2id version", "alice:" + strings.Replace(goodArgon2, "v=19", "v=16", 1), `users:1: user "alice": argon2id hash is not of version 19`},
		{"argon2id order", "alice:" + params("t=1,m=8,p=1"), `users:1: user "alice": parameters of the argon2id hash are not m=…,t=…,p=… with numbers above 0`},
		{"argon2id without p", "alice:" + params("m=8,t=1"), `users:1: user "alice": parameters of the argon2id hash are not m=…,t=…,p=…`},
		{"argon2id no time", "alice:" + params("m=8,t=0,p=1"), `users:1: user "alice": parameters of the argon2id hash are not m=…,t=…,p=… with numbers above 0`},
		{"argon2id negative", "alice:" + params("m=8,t=-1,p=1"), `users:1: user "alice": parameters of the argon2id hash are not m=…,t=…,p=… with numbers above 0`},
		{"argon2id most memory", "alice:" + params("m=262144,t=4,p=16"), ""},
		{"argon2id memory", "alice:" + params("m=655360,t=1,p=1"), `users:1: user "alice": argon2id hash takes m=655360 KiB for each login; at most 262144`},
		{"argon2id time", "alice:" + params("m=65536,t=17,p=1"), `users:1: user "alice": argon2id hash takes t=17 passes over m=65536 KiB for each login; m times t is at most 1048576`},
		{"argon2id time above 32 bits", "alice:" + params("m=65536,t=4294967295,p=1"), `users:1: user "alice": argon2id hash takes t=4294967295 passes over m=65536 KiB for each login; m times t is at most 1048576`},
		{"argon2id threads", "alice:" + params("m=65536,t=1,p=17"), `users:1: user "alice": argon2id hash takes p=17 threads; at most 16`},
		{"argon2id too little memory", "alice:" + params("m=15,t=1,p=2"), `users:1: user "alice": argon2id hash has m=15, which must be at least 8 times p=2`},
		{"argon2id salt", "alice:" + strings.Replace(goodArgon2, "c2FsdHNhbHQ", "c2FsdA", 1), `users:1: user "alice": salt of the argon2id hash: 4 bytes, want 8 to 64`},
		{"argon2id padding", "alice:" + goodArgon2 + "=", `users:1: user "alice": argon2id hash: not base64 without padding`},
		{"argon2id bits left over", "alice:" + goodArgon2[:len(goodArgon2)-1] + "R", `users:1: user "alice": argon2id hash: not base64 without padding`},
		{"argon2id key", "alice:" + goodArgon2[:len(goodArgon2)-6], `users:1: user "alice": argon2id hash: 12 bytes, want 16 to 64`},
		{"argon2id key too long", "alice:" + goodArgon2 + strings.Repeat("AAAA", 17), `users:1: user "alice": argon2id hash: 67 bytes, want 16 to 64`},

		{"bcrypt cut", "alice:" + goodBcrypt[:59], `users:1: user "alice": bcrypt hash is not complete: it has 59 characters, want 60`},
		{"bcrypt cost", "alice:" + strings.Replace(goodBcrypt, "$05", "$15", 1), `users:1: user "alice": bcrypt hash has cost 15; at most 14, which takes about a second for each login`},
		{"bcrypt no cost", "alice:" + strings.Replace(goodBcrypt, "$05", "$xx", 1), `users:1: user "alice": bcrypt hash has no cost from 04 up`},
		{"bcrypt character", "alice:" + strings.Replace(goodBcrypt, "c4Wo", "c4W:", 1), `users:1: user "alice": bcrypt hash has a character that belongs in none`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parse(strings.NewReader(c.line+"\n"), "users")
			if got := text(err); got != c.want {
				t.Errorf("%s\nwant %s", got, c.want)
			}
			if strings.Contains(text(err), "hunter2") {
				t.Error("the error shows a password")
			}
			if le := (*LineError)(nil); err != nil && (!errors.As(err, &le) || le.Line != 1) {
				t.Errorf("%v is no LineError of line 1", err)
			}
		})
	}
}

func params(p string) string { return strings.Replace(goodArgon2, "m=8,t=1,p=1", p, 1) }

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// All mistakes are told at once.
func TestAllLines(t *testing.T) {
	t.Parallel()
	_, err := parse(strings.NewReader("# users\n\nalice:"+goodArgon2+"\nbob:x\n  # more\nalice:"+goodBcrypt+"\nhunter2\n:\nbob:"+goodArgon2), "dir/users")
	want := `dir/users:4: user "bob": plain text, MD5 and SHA crypt are not accepted: make the hash with "hosier hash-password"
dir/users:6: user "alice" stands in line 3 already: delete one of the two
dir/users:7: not "name:hash": make the line with "hosier hash-password --user NAME"
dir/users:8: user has no name
dir/users:9: user "bob" stands in line 4 already: delete one of the two`
	if text(err) != want {
		t.Errorf("%v\nwant %s", err, want)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	l := mustParse(t, "# comment\r\n\r\nalice:"+goodArgon2+"\r\n\tbob:"+goodBcrypt+"  ")
	if !l.Has("alice") || !l.Has("bob") || l.Has("# comment") || l.Has("") || strings.Join(l.Names(), " ") != "alice bob" {
		t.Errorf("users are %v", l.users)
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("permissions are of Unix")
	}
	for _, c := range []struct {
		name, text string
		mode       os.FileMode
		want       string // $ is the file
		warning    string
	}{
		{"private", "a:" + goodArgon2, 0o600, "", ""},
		{"of a group", "a:" + goodArgon2, 0o660, "", ""},
		{"readable", "a:" + goodArgon2, 0o644, "", "anybody on this host may read the hashes in $: run chmod o-r $"},
		{"writable", "a:" + goodArgon2, 0o602, "file of users: anybody on this host may write $: run chmod o-rw $", ""},
		{"empty", "", 0o600, `file of users: $ has no user: add a line with "hosier hash-password --user NAME"`, ""},
		{"comments only", "# a\n\n", 0o600, `file of users: $ has no user: add a line with "hosier hash-password --user NAME"`, ""},
		{"too large", strings.Repeat("#\n", maxFile/2+1), 0o600, "file of users: $ is larger than 16 MiB", ""},
		{"binary", "\x00\x01\x02", 0o600, `$:1: not "name:hash": make the line with "hosier hash-password --user NAME"`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "users")
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(file, c.mode); err != nil {
				t.Fatal(err)
			}
			l, err := Load(file)
			if got := strings.ReplaceAll(text(err), file, "$"); got != c.want {
				t.Errorf("%s\nwant %s", got, c.want)
			}
			if err == nil {
				if got := strings.ReplaceAll(strings.Join(l.Warnings, "\n"), file, "$"); got != c.warning {
					t.Errorf("warnings %q, want %q", got, c.warning)
				}
			}
		})
	}
	if _, err := Load(t.TempDir()); err == nil || !strings.Contains(err.Error(), "is not a regular file") {
		t.Errorf("a directory: %v", err)
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestCheckName(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{
		"alice": true, "alice@example.com": true, "a b": true, "Ä": true, "a#": true,
		"": false, "a:b": false, "#a": false, " a": false, "a\n": false, "a\nb": false, "a\u200bb": false,
	} {
		if err := CheckName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestHash(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ password, want string }{
		{"", "password is empty"},
		{strings.Repeat("x", 256), "password has 256 bytes; SOCKS5 carries at most 255"},
		{"a\x00b\xff:\n", ""},
		{strings.Repeat("x", 255), ""},
	} {
		hash, err := Hash(c.password)
		if text(err) != c.want {
			t.Errorf("%q: %v, want %s", c.password, err, c.want)
		}
		if err != nil {
			continue
		}
		if prefix := "$argon2id$v=19$m=65536,t=3,p=4$"; !strings.HasPrefix(hash, prefix) {
			t.Errorf("hash is %s, want %s…", hash, prefix)
		}
		l := mustParse(t, "alice:"+hash)
		if !l.matches("alice", c.password) || l.matches("alice", c.password[1:]) || l.matches("bob", c.password) {
			t.Errorf("%q: the hash does not tell it from others", c.password)
		}
	}
	one, _ := Hash("secret")
	if two, _ := Hash("secret"); one == two {
		t.Error("two hashes of one password are the same: there is no salt")
	}
}

// Hashes that others have made: by the reference implementation of Argon2 (its test.c) and
// by htpasswd.
func TestForeignHashes(t *testing.T) {
	t.Parallel()
	for hash, password := range map[string]string{
		"$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4": "password",
		"$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc": "password",
		goodBcrypt: "myPassword",
	} {
		l := mustParse(t, "alice:"+hash)
		if !l.matches("alice", password) || l.matches("alice", password+"x") || l.matches("bob", password) {
			t.Errorf("%s does not tell the password from others", hash)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("alice:" + goodArgon2 + "\n")
	f.Add("# c\r\nbob:" + goodBcrypt)
	f.Add("hunter2\n:\nalice:x\nalice:$2y$")
	f.Fuzz(func(t *testing.T, file string) {
		l, err := parse(strings.NewReader(file), "users")
		if (l == nil) != (err != nil) {
			t.Fatalf("list %v, error %v", l, err)
		}
		if err != nil {
			return
		}
		for name, s := range l.users {
			if s == nil || CheckName(name) != nil {
				t.Errorf("user %q with hash %v", name, s)
			}
			if s.memory > maxMemory || s.bcrypt > maxCost || s.bcrypt == 0 && s.time == 0 {
				t.Errorf("user %q costs %s", name, fmt.Sprint(s.cost))
			}
		}
	})
}
