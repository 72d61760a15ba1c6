package admin

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// problem is the answer to what cannot be done.
type problem struct {
	Error string `json:"error"`
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(body) // the client sees it if it fails
}

func text(w http.ResponseWriter, code int, line string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	io.WriteString(w, line+"\n")
}

// wantsText reports whether the client asks for text and not for JSON.
func wantsText(r *http.Request) bool {
	accept := r.Header.Get("Accept")
	return strings.Contains(accept, "text/plain") && !strings.Contains(accept, "application/json")
}

func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	if s.o.Ready != nil {
		if err := s.o.Ready(r.Context()); err != nil {
			text(w, http.StatusServiceUnavailable, err.Error())
			return
		}
	}
	text(w, http.StatusOK, "ok")
}

func (s *Server) report(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), reportTimeout)
	defer cancel()
	answer(w, http.StatusOK, s.o.Report(ctx))
}

// reload answers 200, or 422 with what is wrong with the configuration.
func (s *Server) reload(w http.ResponseWriter, r *http.Request) {
	mistakes := []string{}
	if err := s.o.Reload(); err != nil {
		mistakes = strings.Split(err.Error(), "\n")
	}
	code := http.StatusOK
	if len(mistakes) > 0 {
		code = http.StatusUnprocessableEntity
	}
	switch {
	case !wantsText(r):
		answer(w, code, struct {
			Mistakes []string `json:"mistakes"`
		}{mistakes})
	case code == http.StatusOK:
		text(w, code, "reloaded")
	default:
		text(w, code, strings.Join(mistakes, "\n"))
	}
}
