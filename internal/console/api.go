package console

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"hosier/internal/rules"
	"hosier/internal/telemetry"
)

// askTimeout is how long a Source may take to find something out.
const askTimeout = 3 * time.Second

// topic is something that the console can tell: a GET of its name, a stream about it, and
// pages that show it give the same.
type topic struct {
	name    string
	summary string
	params  []string // that it knows
	body    any      // a value of the type that tell returns
	tell    func(context.Context, *Console, query) any
}

var topics = []*topic{
	{"status", "How hosier is, in one look", nil, Status{}, func(_ context.Context, c *Console, _ query) any {
		s := c.o.Source.Status()
		s.Listeners = filled(s.Listeners)
		return s
	}},
	{"connections", "Connections that are open", []string{"limit", "q", "sort", "user"}, connectionList{}, func(_ context.Context, c *Console, q query) any {
		return c.connections(q)
	}},
	{"history", "The last hour by minute, the oldest first; the last one is not over", nil, history{}, func(_ context.Context, c *Console, _ query) any {
		minutes := filled(c.o.Source.History())
		return history{minutes, charts(minutes)}
	}},
	{"failures", "The last connections that were refused, failed or were cut short, the latest first", []string{"limit"}, failureList{}, func(_ context.Context, c *Console, q query) any {
		all := c.o.Source.Failures()
		return failureList{len(all), head(all, q.Limit)}
	}},
	{"egresses", "The egresses, and how they are", nil, egressList{}, func(ctx context.Context, c *Console, _ query) any {
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		return egressList{filled(c.o.Source.Egresses(ctx))}
	}},
	{"names", "Lookups by this host, and the DNS servers that it asked", nil, Names{}, func(_ context.Context, c *Console, _ query) any {
		n := c.o.Source.Names()
		n.Servers = filled(n.Servers)
		return n
	}},
	{"rules", "The rules in their order, and how many requests each decided; the default last", []string{"limit"}, ruleList{}, func(_ context.Context, c *Console, q query) any {
		all := c.o.Source.Rules()
		shown := append([]rules.Listed{}, head(all, q.Limit)...)
		for i := range shown {
			shown[i].If = filled(shown[i].If)
		}
		return ruleList{len(all), shown}
	}},
	{"leaks", "The sources of requests with an address where a name was possible, the latest first", []string{"limit"}, leakList{}, func(_ context.Context, c *Console, q query) any {
		l := c.o.Source.Leaks()
		total := len(l.Sources)
		l.Sources = head(l.Sources, q.Limit)
		return leakList{l, total}
	}},
	{"config", "The configuration in force", nil, Config{}, func(_ context.Context, c *Console, _ query) any {
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
		Minutes []telemetry.Minute `json:"minutes"`
		Charts  []chart            `json:"charts"`
	}
	failureList struct {
		Total    int               `json:"total"`
		Failures []telemetry.Entry `json:"failures"`
	}
	egressList struct {
		Egresses []Egress `json:"egresses"`
	}
	ruleList struct {
		Total int            `json:"total"`
		Rules []rules.Listed `json:"rules"`
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

func (c *Console) answerTopic(t *topic) func(http.ResponseWriter, *http.Request, query) {
	return func(w http.ResponseWriter, r *http.Request, q query) {
		answer(w, http.StatusOK, t.tell(r.Context(), c, q))
	}
}

func (c *Console) explain(w http.ResponseWriter, r *http.Request, q query) {
	e, err := c.o.Source.Explain(q.Question)
	if err != nil {
		fail(w, r, http.StatusBadRequest, err.Error())
		return
	}
	answer(w, http.StatusOK, e)
}

// endOne ends the connection that the path names.
func (c *Console) endOne(w http.ResponseWriter, r *http.Request, _ query) {
	id, err := readID(r.PathValue("id"))
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
func (c *Console) endUser(w http.ResponseWriter, _ *http.Request, q query) {
	answer(w, http.StatusOK, ended{c.o.Source.End(0, q.User)})
}
