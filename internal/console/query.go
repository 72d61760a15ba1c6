package console

import (
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	defaultLimit = 200  // rows of a list
	maxLimit     = 1000 // rows that anybody gets
	maxWord      = 256  // bytes of a value
	maxURL       = 2048
)

// query is what a request says beside its path.
type query struct {
	Limit int
	Text  string // that a row must have
	User  string
	Sort  string // one of sortings, or "-" and one
	About []*topic
	Question
	Closed   string // how many connections were closed by a form; "" if none was sent
	Reloaded bool   // a form had the configuration read anew
}

// readQuery reads what a request may say: names are those that it knows. An error says
// what to write.
func readQuery(r *http.Request, names ...string) (q query, err error) {
	q = query{Limit: defaultLimit, Sort: usualSort}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return q, fmt.Errorf("the query of the URL cannot be read: write NAME=VALUE&NAME=VALUE, with %%26 for & in a value")
	}
	for name, all := range values {
		switch {
		case !slices.Contains(names, name):
			return q, fmt.Errorf("there is no parameter %s here; %s", shorten(name), thereAre(names))
		case len(all) > 1 && name != "about":
			return q, fmt.Errorf("%s= may stand here once", name)
		}
		for _, value := range all {
			if err := q.set(name, value); err != nil {
				return q, err
			}
		}
	}
	return q, nil
}

// missing is the error of a request without a parameter that it must have.
func missing(name string) error {
	switch name {
	case "url":
		return errors.New("say which request: url=URL, such as https://www.example/, host:port, or a host")
	case "user":
		return errors.New("say whose connections: user=NAME; a single one is at " + api + "connections/ID")
	}
	return errors.New("say what the stream shall be about: about=TOPIC, one or more of " + topicNames())
}

func thereAre(names []string) string {
	if len(names) == 0 {
		return "there are none"
	}
	return "there are " + strings.Join(names, ", ")
}

func (q *query) set(name, value string) error {
	most := maxWord
	if name == "url" {
		most = maxURL
	}
	switch {
	case len(value) > most:
		return fmt.Errorf("%s= has %d bytes, and at most %d are possible", name, len(value), most)
	case !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl):
		return fmt.Errorf("%s= has characters that are none: write UTF-8 without control characters", name)
	}
	switch name {
	case "limit":
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > maxLimit {
			return fmt.Errorf("limit=%s: write a number from 1 to %d", shorten(value), maxLimit)
		}
		q.Limit = n
	case "sort":
		if value != "" && findSorting(value) == nil {
			return fmt.Errorf("sort=%s: write one of %s, with - before it for the other way round", shorten(value), sortingNames())
		} else if value != "" {
			q.Sort = value
		}
	case "about":
		t := findTopic(value)
		if t == nil {
			return fmt.Errorf("about=%s: write one of %s", shorten(value), topicNames())
		} else if !slices.Contains(q.About, t) {
			q.About = append(q.About, t)
		}
	case "closed":
		if n, err := strconv.ParseUint(value, 10, 32); err != nil {
			return fmt.Errorf("closed=%s: it is a number", shorten(value))
		} else {
			q.Closed = strconv.FormatUint(n, 10)
		}
	case "reloaded":
		q.Reloaded = true
	case "q":
		q.Text = value
	case "user":
		q.User, q.Question.User = value, value
	case "url":
		q.URL = value
	case "listener":
		q.Listener = value
	case "client":
		q.Client = value
	}
	return nil
}

// shorten makes what somebody wrote fit into a message.
func shorten(s string) string {
	const most = 40
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return strconv.Quote(s)
}

// readID reads the number of a connection.
func readID(s string) (uint64, error) {
	id, err := strconv.ParseUint(s, 10, 64)
	if err != nil || id == 0 {
		return 0, fmt.Errorf("%s is no connection: write the id that "+api+"connections has", shorten(s))
	}
	return id, nil
}

// View is the connections that are shown, for a link to them.
func (q query) View() template.URL { return template.URL(q.view()) }

// SortedBy is the same connections in another order, or if it is theirs, the other way
// round. Of numbers people want the largest first.
func (q query) SortedBy(name string) template.URL {
	if q.Sort == name || q.Sort != "-"+name && slices.Contains([]string{"up", "down", "rate"}, name) {
		name = "-" + name
	}
	return template.URL(q.view("sort", name))
}

// column is one of the table of connections.
type column struct{ Name, Title, Class string }

// Columns are those of the table that can be sorted by.
func (q query) Columns() (all []column) {
	for _, s := range sortings {
		all = append(all, column{s.name, s.title, s.class})
	}
	return all
}

// choice is an order that can be chosen from a list.
type choice struct{ Value, Words string }

// Sortings are all the orders there are.
func (q query) Sortings() (all []choice) {
	for _, s := range sortings {
		all = append(all, choice{s.name, s.words[0]}, choice{"-" + s.name, s.words[1]})
	}
	return all
}

// Order says how a column is sorted, in the words of ARIA.
func (q query) Order(name string) string {
	switch q.Sort {
	case name:
		return "ascending"
	case "-" + name:
		return "descending"
	}
	return "none"
}

// view is the part of a query that says which connections are shown, for a link.
func (q *query) view(change ...string) string {
	v := url.Values{}
	add := func(name, value, usual string) {
		if i := slices.Index(change, name); i >= 0 {
			value = change[i+1]
		}
		if value != usual {
			v.Set(name, value)
		}
	}
	add("q", q.Text, "")
	add("user", q.User, "")
	add("sort", q.Sort, usualSort)
	add("limit", strconv.Itoa(q.Limit), strconv.Itoa(defaultLimit))
	add("closed", "", "")
	return v.Encode()
}
