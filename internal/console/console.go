package console

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// Options are what a [Console] is made of.
type Options struct {
	Source Source

	// CSRF is what forms and scripts of a page send back, as the field csrf or in the
	// header X-CSRF-Token, to whoever judges them before the console does.
	CSRF func(*http.Request) string

	// SignedIn reports whether who made the request would be let in now. Streams ask it
	// again and again, since a session may end before they do. Nil is always.
	SignedIn func(*http.Request) bool

	// Reload reads the configuration anew. An error changes nothing, and its text has a
	// line for each mistake. Nil for none: then there is no button.
	Reload func() error
}

// Console makes the pages and answers the API. It must come from [New]; its handlers may
// be called by many goroutines at once.
type Console struct {
	o       Options
	meter   meter
	streams chan struct{} // holds a token for each that is open
}

// New makes a Console.
func New(o Options) *Console {
	return &Console{o: o, streams: make(chan struct{}, maxStreams)}
}

// Register hands each handler to handle, with a pattern of [http.ServeMux] that has a path
// and no method. Whoever serves them has let in only those who have signed in, and has
// checked the CSRF value of methods that may change something.
func (c *Console) Register(handle func(pattern string, h http.Handler)) {
	byPath := map[string]methods{}
	for _, r := range c.routes() {
		if byPath[r.path] == nil {
			byPath[r.path] = methods{}
		}
		byPath[r.path][r.method] = r.answer
	}
	for path, m := range byPath {
		handle(path, m)
	}
}

// route is one request that can be made. Those of the API are described by it, too.
type route struct {
	method, path string
	summary      string
	params       []string // of the query
	required     string   // one of them
	body         any      // a value of the type of the answer
	serve        func(http.ResponseWriter, *http.Request, query)
}

func (c *Console) routes() []route {
	all := []route{
		{http.MethodGet, api + "explain", "What would happen to a request; nothing is connected to or looked up", []string{"client", "listener", "url", "user"}, "url", Explanation{}, c.explain},
		{http.MethodGet, api + "events", "A stream of server-sent events: each is named after a topic, and its data is what a GET of the topic returns", []string{"about", "limit", "q", "sort", "user"}, "about", "", c.events},
		{http.MethodGet, api + "openapi", "This description", nil, "", map[string]any{}, c.openAPI},
		{http.MethodDelete, api + "connections", "Close the connections of a user", []string{"user"}, "user", ended{}, c.endUser},
		{http.MethodDelete, api + "connections/{id}", "Close a connection", nil, "", ended{}, c.endOne},
		{http.MethodPost, "/connections/close", "", []string{"limit", "q", "sort", "user"}, "", nil, c.closeForm},
		{http.MethodGet, "/console/{file}", "", nil, "", nil, serveAsset},
	}
	for _, t := range topics {
		all = append(all, route{http.MethodGet, api + t.name, t.summary, t.params, "", t.body, c.answerTopic(t)})
	}
	for _, p := range pages {
		all = append(all, route{http.MethodGet, p.path, "", p.params, "", nil, c.page(p)})
	}
	if c.o.Reload != nil {
		all = append(all, route{http.MethodPost, "/config/reload", "", nil, "", nil, c.reloadForm})
	}
	return all
}

// answer reads the query, and serves the request if it has what it must have.
func (o route) answer(w http.ResponseWriter, r *http.Request) {
	q, err := readQuery(r, o.params...)
	if err == nil && o.required != "" && r.URL.Query().Get(o.required) == "" {
		err = missing(o.required)
	}
	if err != nil {
		fail(w, r, http.StatusBadRequest, err.Error())
		return
	}
	o.serve(w, r, q)
}

// methods are what serves a path, by method. GET serves HEAD, too.
type methods map[string]http.HandlerFunc

func (m methods) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if serve := m[method]; serve != nil {
		serve(w, r)
		return
	}
	var allow []string
	for method := range m {
		allow = append(allow, method)
		if method == http.MethodGet {
			allow = append(allow, http.MethodHead)
		}
	}
	slices.Sort(allow)
	w.Header().Set("Allow", strings.Join(allow, ", "))
	fail(w, r, http.StatusMethodNotAllowed, "here the methods are "+strings.Join(allow, ", "))
}

const api = "/api/v1/"

// problem is the answer to what cannot be done.
type problem struct {
	Error string `json:"error"`
}

func answer(w http.ResponseWriter, code int, body any) {
	b, err := json.Marshal(body)
	if err != nil { // a number that JSON has not, such as NaN
		code, b = http.StatusInternalServerError, []byte(`{"error":"what is to be told does not fit into JSON"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	w.Write(append(b, '\n')) // the client sees it if it fails
}

// fail returns what is wrong with a request: scripts in JSON, people on a page.
func fail(w http.ResponseWriter, r *http.Request, code int, text string) {
	if strings.HasPrefix(r.URL.Path, api) {
		answer(w, code, problem{text})
		return
	}
	writeProblem(w, code, text)
}
