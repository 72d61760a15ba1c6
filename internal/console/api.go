package console

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// askTimeout is how long a Source may take to find something out.
const askTimeout = 3 * time.Second

// topic is something that the console can tell: a GET of its name, a stream about it, and
// pages that show it give the same.
type topic struct {
	name   string
	params []string // that it knows
	tell   func(context.Context, *Console, query) any
}

var topics = []*topic{
	{"status", nil, func(_ context.Context, c *Console, _ query) any {
		s := c.o.Source.Status()
		s.Listeners = filled(s.Listeners)
		return s
	}},
	{"connections", []string{"limit", "q", "sort", "user"}, func(_ context.Context, c *Console, q query) any {
		return c.connections(q)
	}},
	{"history", nil, func(_ context.Context, c *Console, _ query) any {
		return history{filled(c.o.Source.History())}
	}},
	{"failures", []string{"limit"}, func(_ context.Context, c *Console, q query) any {
		all := c.o.Source.Failures()
		return failureList{len(all), head(all, q.Limit)}
	}},
	{"egresses", nil, func(ctx context.Context, c *Console, _ query) any {
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		return egressList{filled(c.o.Source.Egresses(ctx))}
	}},
	{"rules", []string{"limit"}, func(_ context.Context, c *Console, q query) any {
		all := c.o.Source.Rules()
		shown := append([]Rule{}, head(all, q.Limit)...)
		for i := range shown {
			shown[i].If = filled(shown[i].If)
		}
		return ruleList{len(all), shown}
	}},
	{"leaks", []string{"limit"}, func(_ context.Context, c *Console, q query) any {
		l := c.o.Source.Leaks()
		total := len(l.Sources)
		l.Sources = head(l.Sources, q.Limit)
		return leakList{l, total}
	}},
	{"config", nil, func(_ context.Context, c *Console, _ query) any {
		conf := c.o.Source.Config()
		conf.Settings = filled(conf.Settings)
		return conf
	}},
}

func findTopic(name string) *topic {
	for _, t := range topics {
		if t.name == name {
			return t
		}
	}
	return nil
}

func topicNames() string {
	var names []string
	for _, t := range topics {
		names = append(names, t.name)
	}
	return strings.Join(names, ", ")
}

// The bodies of topics. A total counts those as well that were not asked for.
type (
	history struct {
		Minutes []Minute `json:"minutes"`
	}
	failureList struct {
		Total    int       `json:"total"`
		Failures []Failure `json:"failures"`
	}
	egressList struct {
		Egresses []Egress `json:"egresses"`
	}
	ruleList struct {
		Total int    `json:"total"`
		Rules []Rule `json:"rules"`
	}
	leakList struct {
		Leaks
		Total int `json:"total"` // of Sources
	}
	ended struct {
		Closed int `json:"closed"`
	}
)

// filled is a list that JSON has as one, also if it is empty.
func filled[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func head[T any](list []T, most int) []T { return filled(list[:min(most, len(list))]) }

func (c *Console) answerTopic(t *topic) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q, err := readQuery(r, t.params...)
		if err != nil {
			fail(w, r, http.StatusBadRequest, err.Error())
			return
		}
		answer(w, http.StatusOK, t.tell(r.Context(), c, q))
	}
}

func (c *Console) explain(w http.ResponseWriter, r *http.Request) {
	q, err := readQuery(r, "client", "listener", "url", "user")
	if err == nil && q.URL == "" {
		err = errNoURL
	}
	if err != nil {
		fail(w, r, http.StatusBadRequest, err.Error())
		return
	}
	e, err := c.o.Source.Explain(q.Question)
	if err != nil {
		fail(w, r, http.StatusBadRequest, err.Error())
		return
	}
	answer(w, http.StatusOK, e)
}

// endOne ends the connection that the path names.
func (c *Console) endOne(w http.ResponseWriter, r *http.Request) {
	_, err := readQuery(r)
	id, idErr := readID(r.PathValue("id"))
	if err == nil {
		err = idErr
	}
	if err != nil {
		fail(w, r, http.StatusBadRequest, err.Error())
		return
	}
	n := c.o.Source.End(id, "")
	if n == 0 {
		fail(w, r, http.StatusNotFound, "connection "+strconv.FormatUint(id, 10)+" is not open; "+api+"connections has those that are")
		return
	}
	answer(w, http.StatusOK, ended{n})
}

// endUser ends those of one user. That there are none is no mistake.
func (c *Console) endUser(w http.ResponseWriter, r *http.Request) {
	q, err := readQuery(r, "user")
	if err == nil && q.User == "" {
		err = errNoUser
	}
	if err != nil {
		fail(w, r, http.StatusBadRequest, err.Error())
		return
	}
	answer(w, http.StatusOK, ended{c.o.Source.End(0, q.User)})
}
