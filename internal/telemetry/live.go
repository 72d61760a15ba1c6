package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"

	"hosier/proxy"
)

// live collects what changes without an event: open connections, the bytes that they have
// moved, and the health of egresses.
type live struct {
	stages func() proxy.Stages
	moved  func() (up, down int64)
	health func() []Health

	open, bytes, egress *prometheus.Desc
	names               *names
}

func newLive(o *Options) *live {
	l := &live{
		stages: o.Stages,
		moved:  o.Moved,
		health: o.Health,
		names:  newNames(o),
		open: prometheus.NewDesc("hosier_open_connections",
			"Open connections, by stage.", []string{"stage"}, nil),
		bytes: prometheus.NewDesc("hosier_relayed_bytes_total",
			"Payload bytes, up to targets and down to clients, including open connections.", []string{"direction"}, nil),
		egress: prometheus.NewDesc("hosier_egress_up",
			"1 if the egress, or this member of it, can serve.", []string{"egress", "member"}, nil),
	}
	return l
}

// Describe implements [prometheus.Collector].
func (l *live) Describe(ch chan<- *prometheus.Desc) {
	ch <- l.open
	ch <- l.bytes
	ch <- l.egress
	l.names.Describe(ch)
}

// Collect implements [prometheus.Collector].
func (l *live) Collect(ch chan<- prometheus.Metric) {
	l.collectStages(ch)
	l.collectBytes(ch)
	l.collectHealth(ch)
	l.names.Collect(ch)
}

func (l *live) collectStages(ch chan<- prometheus.Metric) {
	if l.stages == nil {
		return
	}
	open := l.stages()
	for i, n := range [len(stages)]int{open.Handshake, open.Connect, open.Relay} {
		ch <- prometheus.MustNewConstMetric(l.open, prometheus.GaugeValue, float64(n), stages[i])
	}
}

func (l *live) collectBytes(ch chan<- prometheus.Metric) {
	if l.moved == nil {
		return
	}
	up, down := l.moved()
	ch <- prometheus.MustNewConstMetric(l.bytes, prometheus.CounterValue, float64(up), "up")
	ch <- prometheus.MustNewConstMetric(l.bytes, prometheus.CounterValue, float64(down), "down")
}

func (l *live) collectHealth(ch chan<- prometheus.Metric) {
	if l.health == nil {
		return
	}
	type key struct{ egress, member string }
	seen := map[key]bool{} // a second one would fail all the metrics
	for _, h := range l.health() {
		k := key{clean(h.Egress, maxName), clean(h.Member, maxName)}
		if seen[k] {
			continue
		}
		seen[k] = true
		up := 0.0
		if h.Up {
			up = 1
		}
		ch <- prometheus.MustNewConstMetric(l.egress, prometheus.GaugeValue, up, k.egress, k.member)
	}
}
