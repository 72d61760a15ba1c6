package console

import (
	"bytes"
	"context"
	"embed"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// page is one that people see. Its template is web/NAME.html.
type page struct {
	name, path, Title string
	topics            []string
	params            []string
	limit             int  // of the rows of its lists; 0 for the usual one
	still             bool // it is not live
}

var pages = []*page{
	{name: "overview", path: "/{$}", Title: "Overview", topics: []string{"status", "history", "egresses", "failures", "leaks"}, limit: 5},
	{name: "connections", path: "/connections", Title: "Connections", topics: []string{"connections"}, params: []string{"closed", "limit", "q", "sort", "user"}},
	{name: "egresses", path: "/egresses", Title: "Egresses", topics: []string{"egresses", "names"}},
	{name: "rules", path: "/rules", Title: "Rules", topics: []string{"rules"}, params: []string{"client", "listener", "url", "user"}},
	{name: "leaks", path: "/leaks", Title: "Leaks", topics: []string{"leaks"}},
	{name: "failures", path: "/failures", Title: "Failures", topics: []string{"failures"}},
	{name: "config", path: "/config", Title: "Configuration", topics: []string{"config"}, params: []string{"reloaded"}, still: true},
}

// Href is where the page is.
func (p *page) Href() string { return strings.TrimSuffix(p.path, "{$}") }

// pageData is what a template shows.
type pageData struct {
	*page
	Pages       []*page
	Now         time.Time
	CSRF        string
	Query       query
	Status      Status
	On          map[string]any // the body of each topic
	Explanation *Explanation
	Problems    []string // with what was asked for
	Reloads     bool     // there may be a reload
}

//go:embed web
var web embed.FS

// templates are those of the pages, by name.
var templates = parseTemplates()

func parseTemplates() map[string]*template.Template {
	layout := template.Must(template.New("layout.html").Funcs(template.FuncMap{
		"blank": blank, "clock": clock, "join": join, "lines": lines, "millis": millis, "since": since,
		"stamp": stamp, "text": visible, "count": anyCount, "size": size[int64], "reverse": reverse,
		"set": isSet, "unset": isUnset,
	}).ParseFS(web, "web/layout.html", "web/parts.html"))
	all := map[string]*template.Template{}
	for _, p := range append([]*page{{name: "problem"}}, pages...) {
		all[p.name] = template.Must(template.Must(layout.Clone()).ParseFS(web, "web/"+p.name+".html"))
	}
	return all
}

func (c *Console) page(p *page) func(http.ResponseWriter, *http.Request, query) {
	return func(w http.ResponseWriter, r *http.Request, q query) {
		if p.limit > 0 {
			q.Limit = p.limit
		}
		d := c.data(r, p, q)
		code := http.StatusOK
		if q.URL != "" {
			e, err := c.o.Source.Explain(q.Question)
			if d.Explanation = &e; err != nil {
				d.Explanation, d.Problems, code = nil, []string{err.Error()}, http.StatusBadRequest
			}
		}
		writePage(w, code, d)
	}
}

// pageTimeout is how long a page waits for a Source. What takes longer comes by the stream.
const pageTimeout = 500 * time.Millisecond

// data is what the page shows.
func (c *Console) data(r *http.Request, p *page, q query) *pageData {
	ctx, cancel := context.WithTimeout(r.Context(), pageTimeout)
	defer cancel()
	d := &pageData{
		page: p, Pages: pages, Now: time.Now(), CSRF: c.o.CSRF(r), Query: q, Status: c.o.Source.Status(),
		On: map[string]any{}, Reloads: c.o.Reload != nil,
	}
	for _, name := range p.topics {
		d.On[name] = findTopic(name).tell(ctx, c, q)
	}
	return d
}

// Stream is where the page gets news from.
func (d *pageData) Stream() string {
	if d.still {
		return ""
	}
	v, err := url.ParseQuery(d.Query.view("limit", strconv.Itoa(d.Query.Limit)))
	if err != nil {
		panic(err) // we wrote it
	}
	v["about"] = d.topics
	return api + "events?" + v.Encode()
}

// Listeners are those that an explanation can be about.
func (d *pageData) Listeners() []string { return d.Status.Listeners }

// writePage writes a page whole, so that a mistake in a template leaves no half of one.
func writePage(w http.ResponseWriter, code int, d *pageData) {
	var b bytes.Buffer
	if err := templates[d.name].Execute(&b, d); err != nil {
		panic(err) // they are part of the program
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	w.Write(b.Bytes())
}

func writeProblem(w http.ResponseWriter, code int, text string) {
	p := &page{name: "problem", Title: http.StatusText(code), still: true}
	writePage(w, code, &pageData{page: p, Pages: pages, Now: time.Now(), Problems: []string{text}})
}

// assets are what pages load, with their types.
var assets = map[string]string{
	"style.css": "text/css; charset=utf-8",
	"live.js":   "text/javascript; charset=utf-8",
	"words.js":  "text/javascript; charset=utf-8",
	"icon.svg":  "image/svg+xml",
}

// serveAsset serves a style, script or picture of the pages.
func serveAsset(w http.ResponseWriter, r *http.Request, _ query) {
	name := r.PathValue("file")
	kind, ok := assets[name]
	if !ok {
		fail(w, r, http.StatusNotFound, "there is no such file")
		return
	}
	b, err := web.ReadFile("web/" + name)
	if err != nil {
		panic(err) // it is part of the program
	}
	w.Header().Set("Content-Type", kind)
	w.Write(b)
}

// closeForm ends what a form names, and leads back to the list as it was.
func (c *Console) closeForm(w http.ResponseWriter, r *http.Request, q query) {
	var n int
	switch id, user := r.PostFormValue("id"), r.PostFormValue("of"); {
	case id == "" && user != "":
		n = c.o.Source.End(0, user)
	default:
		number, err := readID(id)
		if err != nil {
			fail(w, r, http.StatusBadRequest, err.Error())
			return
		}
		n = c.o.Source.End(number, "")
	}
	seeOther(w, "/connections?"+q.view("closed", strconv.Itoa(n)))
}

// reloadForm reads the configuration anew.
func (c *Console) reloadForm(w http.ResponseWriter, r *http.Request, _ query) {
	err := c.o.Reload()
	if err == nil {
		seeOther(w, "/config?reloaded=yes")
		return
	}
	p := pages[len(pages)-1]
	d := c.data(r, p, query{Limit: defaultLimit})
	d.Problems = strings.Split(err.Error(), "\n")
	writePage(w, http.StatusUnprocessableEntity, d)
}

// seeOther leads a form's answer to a page, so that loading that again does nothing twice.
func seeOther(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}
