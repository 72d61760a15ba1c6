package telemetry

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"hosier/resolver"
)

// names collects the counts of lookups by this host's resolver.
type names struct {
	stats func() *resolver.Stats

	lookups, failures, entries, bytes    *prometheus.Desc
	questions, serverFailures, durations *prometheus.Desc
}

func newNames(o *Options) *names {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("hosier_dns_"+name, help, labels, nil)
	}
	return &names{
		stats:          o.Names,
		lookups:        desc("lookups_total", "Lookups of one type of records, by where the answer came from.", "from"),
		failures:       desc("failures_total", "Questions that no DNS server answered."),
		entries:        desc("cache_entries", "Answers that are cached."),
		bytes:          desc("cache_bytes", "Memory that cached answers take, about."),
		questions:      desc("server_questions_total", "Messages sent to a DNS server, repetitions included.", "server"),
		serverFailures: desc("server_failures_total", "Questions that a DNS server failed, or did not answer.", "server"),
		durations:      desc("answer_duration_seconds", "Time that a DNS server took to answer.", "server"),
	}
}

// Describe implements [prometheus.Collector].
func (n *names) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{n.lookups, n.failures, n.entries, n.bytes, n.questions, n.serverFailures, n.durations} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (n *names) Collect(ch chan<- prometheus.Metric) {
	if n.stats == nil {
		return
	}
	s := n.stats()
	if s == nil {
		return
	}
	counter := func(d *prometheus.Desc, value uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), labels...)
	}
	counter(n.lookups, s.Hits, "cache")
	counter(n.lookups, s.Asked, "question")
	counter(n.lookups, s.Coalesced, "question_of_another")
	counter(n.failures, s.Failures)
	ch <- prometheus.MustNewConstMetric(n.entries, prometheus.GaugeValue, float64(s.Entries))
	ch <- prometheus.MustNewConstMetric(n.bytes, prometheus.GaugeValue, float64(s.Bytes))
	for server, one := range byLabel(s.Servers) {
		counter(n.questions, one.Questions, server)
		counter(n.serverFailures, one.Failures, server)
		ch <- prometheus.MustNewConstSummary(n.durations, one.Answers, one.Latency.Seconds(), nil, server)
	}
}

// byLabel adds servers up that differ in what no label has: the path of a URL and the name of a
// certificate may be those of somebody's account.
func byLabel(all []resolver.ServerStats) map[string]resolver.ServerStats {
	sums := map[string]resolver.ServerStats{}
	for _, one := range all {
		label, _, _ := strings.Cut(resolver.Server{Transport: one.Server.Transport, Addr: one.Server.Addr}.String(), "/dns-query")
		sum := sums[label]
		sum.Questions += one.Questions
		sum.Answers += one.Answers
		sum.Failures += one.Failures
		sum.Latency += one.Latency
		sums[label] = sum
	}
	return sums
}
