package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	linkLife    = time.Minute
	sessionLife = 12 * time.Hour
	maxLinks    = 16
	maxSessions = 32
	csrfHeader  = "X-Csrf-Token"
	csrfField   = "csrf"
)

// digest keys secrets in maps: how long a look-up takes says nothing about them.
type digest [sha256.Size]byte

func digestOf(secret string) digest { return sha256.Sum256([]byte(secret)) }

// session is a browser that signed in.
type session struct {
	csrf    string
	expires time.Time
}

// sessions are the browsers that are signed in, and the links that were given out.
type sessions struct {
	mu    sync.Mutex
	links map[digest]time.Time // when each expires
	all   map[digest]session
}

// newLink returns the code of a link that lets in once.
func (s *sessions) newLink() (code string, expires time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.links == nil {
		s.links = make(map[digest]time.Time)
	}
	makeRoom(s.links, maxLinks, func(t time.Time) time.Time { return t })
	code, expires = random(), time.Now().Add(linkLife)
	s.links[digestOf(code)] = expires
	return code, expires
}

// redeem makes a session of the code of a link, which is worth nothing from then on.
func (s *sessions) redeem(code string) (id string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := digestOf(code)
	expires, ok := s.links[d]
	delete(s.links, d)
	if !ok || !time.Now().Before(expires) {
		return "", false
	}
	if s.all == nil {
		s.all = make(map[digest]session)
	}
	makeRoom(s.all, maxSessions, func(s session) time.Time { return s.expires })
	id = random()
	s.all[digestOf(id)] = session{csrf: random(), expires: time.Now().Add(sessionLife)}
	return id, true
}

// find returns the session of an id.
func (s *sessions) find(id string) (session, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := digestOf(id)
	found, ok := s.all[d]
	if ok && !time.Now().Before(found.expires) {
		delete(s.all, d)
		return session{}, false
	}
	return found, ok
}

func (s *sessions) end(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, digestOf(id))
}

// makeRoom drops what has expired, and then, at the limit, what expires first.
func makeRoom[V any](m map[digest]V, limit int, expiry func(V) time.Time) {
	now := time.Now()
	for len(m) > 0 {
		var first digest
		var at time.Time
		for d, v := range m {
			if t := expiry(v); at.IsZero() || t.Before(at) {
				first, at = d, t
			}
		}
		if len(m) < limit && now.Before(at) {
			return
		}
		delete(m, first)
	}
}

// sessionKey is the key of a request's session in its context.
type sessionKey struct{}

// CSRF returns what a form or script of a page must send back with a method that may
// change something: as the field csrf, or in the header X-CSRF-Token. It is "" for
// who showed the token, and needs none.
func CSRF(r *http.Request) string {
	ses, _ := r.Context().Value(sessionKey{}).(session)
	return ses.csrf
}

// requireSession lets in who shows the token or is signed in.
func (s *Server) requireSession(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ses, ok := s.sessionOf(r)
		switch {
		case s.hasToken(r):
			next.ServeHTTP(w, r)
		case r.Header.Get("Authorization") != "" || !ok:
			refuse(w)
		case !isSafe(r.Method) && !ses.confirms(r):
			text(w, http.StatusForbidden, "The form is not of this session: load the page again.")
		default:
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), sessionKey{}, ses)))
		}
	})
}

// SignedIn reports whether who made the request would be let in now. A handler that streams
// asks it again and again, since a session may end before the stream does.
func (s *Server) SignedIn(r *http.Request) bool {
	_, ok := s.sessionOf(r)
	return s.hasToken(r) || ok && r.Header.Get("Authorization") == ""
}

func refuse(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", `Bearer realm="hosier"`)
	text(w, http.StatusUnauthorized, "Not signed in: run \"hosier console\" and open the link it prints. Scripts send Authorization: Bearer TOKEN.")
}

// hasToken reports whether the request has the token, or came by a socket that is worth it.
func (s *Server) hasToken(r *http.Request) bool {
	if isOwners, _ := r.Context().Value(ownerKey{}).(bool); isOwners {
		return true
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.EqualFold(scheme, "Bearer") && s.o.Token.matches(token)
}

func (s *Server) sessionOf(r *http.Request) (session, bool) {
	c, err := r.Cookie(cookieName(r))
	if err != nil {
		return session{}, false
	}
	return s.sessions.find(c.Value)
}

// confirms reports whether the request was made by a page of the session.
func (ses session) confirms(r *http.Request) bool {
	sent := r.Header.Get(csrfHeader)
	if sent == "" {
		sent = r.PostFormValue(csrfField)
	}
	want, got := digestOf(ses.csrf), digestOf(sent)
	return subtle.ConstantTimeCompare(want[:], got[:]) == 1
}

// cookieName has the port in it, since cookies know no ports: two hosiers on one host
// would sign each other's browsers out.
func cookieName(r *http.Request) string {
	if a, ok := localAddr(r).(*net.TCPAddr); ok {
		return "hosier-" + strconv.Itoa(a.Port)
	}
	return "hosier"
}

// makeLink answers who has the token with a link for a browser.
func (s *Server) makeLink(w http.ResponseWriter, r *http.Request) {
	if !s.hasToken(r) {
		refuse(w)
		return
	}
	host := r.Host
	if _, isTCP := localAddr(r).(*net.TCPAddr); !isTCP {
		at := s.at.Load()
		if at == nil {
			answer(w, http.StatusConflict, problem{"a browser cannot open a Unix socket: have hosier serve --admin 127.0.0.1:PORT"})
			return
		}
		host = *at
	}
	code, expires := s.sessions.newLink()
	answer(w, http.StatusCreated, struct {
		Link    string    `json:"link"`
		Expires time.Time `json:"expires"`
	}{"http://" + host + "/signin?code=" + code, expires.UTC().Truncate(time.Second)})
}

// signIn takes the code of a link. A HEAD must not use it up.
func (s *Server) signIn(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	id, ok := s.sessions.redeem(r.URL.Query().Get("code"))
	if !ok {
		text(w, http.StatusForbidden, "This link was used, or is older than a minute: run \"hosier console\" for another.")
		return
	}
	s.log.Info("a browser signed in to the console")
	setCookie(w, r, id, int(sessionLife/time.Second))
	w.Header().Set("Location", "/")
	w.WriteHeader(http.StatusSeeOther)
}

func (s *Server) signOut(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(cookieName(r)); err == nil {
		s.sessions.end(c.Value)
	}
	setCookie(w, r, "", -1)
	text(w, http.StatusOK, "Signed out.")
}

// setCookie has no Secure: the listener is on loopback, without TLS.
func setCookie(w http.ResponseWriter, r *http.Request, id string, seconds int) {
	http.SetCookie(w, &http.Cookie{
		Name: cookieName(r), Value: id, Path: "/", MaxAge: seconds, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	})
}
