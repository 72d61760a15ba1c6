package telemetry

import (
	"runtime"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"hosier/proxy"
	"hosier/socks"
)

// Values of labels for what has no value, and for what no configuration or protocol
// defines: nothing from outside may add a label value.
const (
	none  = "none"
	other = "other"
)

// buckets are those of the histograms, in seconds.
var buckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120}

// metrics are those that docs/log.md describes.
type metrics struct {
	registry *prometheus.Registry

	connections *prometheus.CounterVec
	handshake   *prometheus.HistogramVec
	connect     *prometheus.HistogramVec
	firstByte   *prometheus.HistogramVec
	unsafe      *prometheus.CounterVec
	logins      *prometheus.CounterVec

	outcomes sync.Map // of outcome to *instruments: as bounded as the labels are
}

func newMetrics(o *Options) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),

		connections: counter("hosier_connections_total", "Connections that have ended, by outcome.",
			"dialect", "command", "status", "egress"),
		handshake: histogram("hosier_handshake_duration_seconds", "Time from accept to the complete request.", "dialect"),
		connect:   histogram("hosier_connect_duration_seconds", "Time until the egress answered, failures included.", "egress"),
		firstByte: histogram("hosier_first_byte_duration_seconds", "Time from the reply to the first byte from the target.", "egress"),
		unsafe: counter("hosier_unsafe_requests_total", "Requests that carried an address where a name was possible.",
			"dialect"),
		logins: counter("hosier_logins_total", "Logins of clients, by result.", "result"),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "hosier_build_info", Help: "1, with the version of the program in its labels.",
		ConstLabels: prometheus.Labels{"version": o.Version, "goversion": runtime.Version()},
	})
	build.Set(1)
	m.registry.MustRegister(newLive(o), m.connections, m.handshake, m.connect, m.firstByte, m.unsafe, m.logins, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, l := range []Login{LoginAccepted, LoginWrong, LoginHeldOff, LoginBusy} {
		m.logins.WithLabelValues(string(l)) // a rate needs the zero before the first
	}
	return m
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

func histogram(name, help string, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
}

// outcome holds the labels of a connection that has ended.
type outcome struct{ dialect, command, status, egress string }

// instruments count the connections of one outcome. Looking one up by its labels takes
// longer than counting with it, and each connection needs four.
type instruments struct {
	ended                         prometheus.Counter
	handshake, connect, firstByte prometheus.Observer // nil where there is no such step
}

func (m *metrics) of(o outcome) *instruments {
	if known, ok := m.outcomes.Load(o); ok {
		return known.(*instruments)
	}
	in := &instruments{ended: m.connections.WithLabelValues(o.dialect, o.command, o.status, o.egress)}
	if o.dialect != none {
		in.handshake = m.handshake.WithLabelValues(o.dialect)
	}
	if o.egress != none {
		in.connect, in.firstByte = m.connect.WithLabelValues(o.egress), m.firstByte.WithLabelValues(o.egress)
	}
	made, _ := m.outcomes.LoadOrStore(o, in)
	return made.(*instruments)
}

// count counts a session at its end.
func (m *metrics) count(ses *proxy.Session) {
	o := outcome{none, none, none, none}
	if ses.Egress != "" {
		o.egress = clean(ses.Egress, maxName)
	}
	if r := ses.Request; r != nil {
		o.dialect, o.command, o.status = dialect(r), commandLabel(r.Command), statusLabel(ses.Status)
	}
	in := m.of(o)
	in.ended.Inc()
	if in.handshake != nil {
		in.handshake.Observe(ses.Handshake.Seconds())
	}
	if in.connect != nil && ses.Connect > 0 {
		in.connect.Observe(ses.Connect.Seconds())
	}
	if in.firstByte != nil && ses.FirstByte > 0 {
		in.firstByte.Observe(ses.FirstByte.Seconds())
	}
}

func commandLabel(c socks.Command) string {
	switch c {
	case socks.Connect, socks.Bind, socks.Associate, socks.Resolve, socks.ResolvePTR:
		return c.String()
	}
	return other
}

// statusLabel returns the name of a status that is defined; another proxy may reply
// anything.
func statusLabel(s socks.Status) string {
	if s <= socks.AddressTypeNotSupported || s.Extended() {
		return s.String()
	}
	return other
}
