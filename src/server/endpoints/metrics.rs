//! Floor 4, server: the health of the server, and its metrics for Prometheus.

use std::fmt::{Display, Write as _};
use std::net::SocketAddr;

use super::is_on_this_machine;
use crate::config::Metrics;
use crate::connection::{Answer, Cause, Counters, Endpoint, Hub, Memory, Request};
use crate::http::{Method, Status};

/// The answer 403 to a client that may not ask; `None` for a client that may.
fn denial(audience: Metrics, peer: SocketAddr) -> Option<Answer> {
    let is_local = is_on_this_machine(peer);
    let sentence = "only clients on this machine may ask; --metrics=any lets others ask\n";
    (!is_local && audience != Metrics::Any)
        .then(|| Answer::text(sentence).status(Status::Forbidden))
}

/// `/_oneloop/health`: 200 and `ok`; while the server is stopping, 503 and `stopping`.
#[derive(Debug)]
pub struct Health {
    audience: Metrics,
}

impl Health {
    /// Answers this audience; to others, 403.
    pub fn new(audience: Metrics) -> Health {
        Health { audience }
    }
}

impl Endpoint for Health {
    fn methods(&self) -> &[Method] {
        &[Method::Get]
    }

    fn on_request(&mut self, hub: &mut Hub<'_>, request: Request<'_>) -> Answer {
        if let Some(denial) = denial(self.audience, request.peer()) {
            return denial;
        }
        match hub.is_stopping() {
            false => Answer::text("ok\n"),
            true => Answer::text("stopping\n").status(Status::ServiceUnavailable),
        }
    }
}

/// `/_oneloop/metrics`: the [counters](crate::connection::Counters) since the start, and the memory, in
/// the text format of Prometheus, version 0.0.4.
#[derive(Debug)]
pub struct MetricsEndpoint {
    audience: Metrics,
}

impl MetricsEndpoint {
    /// Answers this audience; to others, 403.
    pub fn new(audience: Metrics) -> MetricsEndpoint {
        MetricsEndpoint { audience }
    }
}

impl Endpoint for MetricsEndpoint {
    fn methods(&self) -> &[Method] {
        &[Method::Get]
    }

    fn on_request(&mut self, hub: &mut Hub<'_>, request: Request<'_>) -> Answer {
        if let Some(denial) = denial(self.audience, request.peer()) {
            return denial;
        }
        let gauges = Gauges {
            memory: hub.memory(),
            cache_lookups: hub.cache_lookups(),
            queued_effects: hub.queued_effects(),
        };
        let text = exposition(hub.counters(), &gauges);
        Answer::bytes("text/plain; version=0.0.4; charset=utf-8", text)
    }
}

/// The figures of the text beside the counters.
struct Gauges {
    memory: Memory,
    cache_lookups: (u64, u64),
    queued_effects: usize,
}

/// The text of all metrics.
fn exposition(counters: &Counters, gauges: &Gauges) -> String {
    let (memory, (hits, misses)) = (gauges.memory, gauges.cache_lookups);
    let mut text = Exposition::default();
    text.counter("requests", "Requests whose head was received whole.")
        .value(counters.requests);
    let mut family = text.counter("responses", "Responses, by the class of their status.");
    for class in 1..=5 {
        family.labelled(
            "class",
            format_args!("{class}xx"),
            counters.responses(class),
        );
    }
    text.counter("received_bytes", "Bytes received from all clients.")
        .value(counters.received_bytes);
    text.counter("sent_bytes", "Bytes sent to all clients.")
        .value(counters.sent_bytes);
    text.gauge("connections", "Connections that are open.")
        .value(counters.open());
    text.counter("connections_accepted", "Connections accepted.")
        .value(counters.connections);
    let mut family = text.counter("connections_closed", "Connections ended, by cause.");
    for (cause, count) in counters.closed_by_cause() {
        family.labelled("cause", cause, count);
    }
    text.counter(
        "connections_shed",
        "Connections closed at once, because too many waited.",
    )
    .value(counters.shed);
    text.counter("messages_received", "WebSocket messages received.")
        .value(counters.messages_received);
    text.counter(
        "messages_sent",
        "WebSocket messages sent, a message to a room once for each member.",
    )
    .value(counters.messages_sent);
    text.counter("messages_missed", "Messages that slow members missed.")
        .value(counters.missed);
    text.counter("endpoint_requests", "Requests handed to endpoints.")
        .value(counters.asked);
    text.gauge("effects_queued", "Effects that wait for delivery.")
        .value(gauges.queued_effects);
    text.counter("turns", "Turns of the loop.")
        .value(counters.turns);
    text.counter("work_units", "Work of the turns, in units of about 1 us.")
        .value(counters.work);
    text.gauge("turn_work_units_most", "The most work of a turn.")
        .value(counters.turn_work_most);
    text.counter("events", "Events that the loop was told of.")
        .value(counters.events);
    let mut family = text.counter("system_calls", "System calls on connections.");
    family.labelled("call", "read", counters.reads);
    family.labelled("call", "write", counters.writes);
    let mut family = text.counter("system_calls_in_vain", "Those that moved no byte (EAGAIN).");
    family.labelled("call", "read", counters.read_blocks);
    family.labelled("call", "write", counters.write_blocks);
    text.counter("budgets_spent", "Connections that went on in a later turn.")
        .value(counters.budgets_spent);
    text.counter("throttled", "Waits for room in the queue of effects.")
        .value(counters.throttled);
    text.counter(
        "accepts_failed",
        "Pauses of accepting for want of descriptors.",
    )
    .value(counters.accepts_failed);
    let mut family = text.counter(
        "answers_cut_off",
        "Connections that ended before an answer did.",
    );
    for cause in Cause::all() {
        family.labelled("cause", cause.name(), counters.interrupted(cause));
    }
    text.gauge("memory_bytes", "Memory held because of all clients.")
        .value(memory.bytes);
    text.gauge("memory_max_bytes", "The bound of that memory.")
        .value(memory.bytes_max);
    let mut family = text.counter("cache_lookups", "Look-ups in the cache of files.");
    family.labelled("result", "hit", hits);
    family.labelled("result", "miss", misses);
    text.counter("log_lines_dropped", "Lines of the log that were dropped.")
        .value(counters.lines_dropped);
    text.0
}

/// A text in the format: the families, each with a line of help, a line with its type, and its samples.
#[derive(Default)]
struct Exposition(String);

impl Exposition {
    /// Begins a family of counters, whose name ends in `_total`.
    fn counter(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(format!("oneloop_{name}_total"), "counter", help)
    }

    /// Begins a family of gauges.
    fn gauge(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(format!("oneloop_{name}"), "gauge", help)
    }

    fn family(&mut self, name: String, kind: &str, help: &str) -> Family<'_> {
        let text = &mut self.0;
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family { text, name }
    }
}

/// A family that takes its samples.
struct Family<'a> {
    text: &'a mut String,
    name: String,
}

impl Family<'_> {
    /// Adds the only sample.
    fn value(self, value: impl Display) {
        let _ = writeln!(self.text, "{} {value}", self.name);
    }

    /// Adds the sample with this value of a label. The value must need no escape: no backslash, no
    /// double quote and no line end.
    fn labelled(&mut self, label: &str, is: impl Display, value: u64) {
        let _ = writeln!(self.text, "{}{{{label}=\"{is}\"}} {value}", self.name);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The rules of the format: a family has one line of help and one line with its type, in front of
    /// its samples, which stand together; a sample is a name, labels and a number, and stands once.
    #[test]
    fn the_text_keeps_to_the_format() {
        let mut counters = Counters::default();
        counters.count(Cause::CutOff, true);
        counters.connections = 3;
        counters.count_response(Status::Ok);
        counters.count_response(Status::from_code(599).expect("a status"));
        let gauges = Gauges {
            memory: Memory {
                bytes: 5,
                bytes_max: 10,
            },
            cache_lookups: (8, 9),
            queued_effects: 7,
        };
        let text = exposition(&counters, &gauges);
        assert!(text.ends_with('\n') && !text.contains('\r'));
        let is_name = |name: &str| {
            let mut bytes = name.bytes();
            name.starts_with("oneloop_") && bytes.all(|b| b == b'_' || b.is_ascii_lowercase())
        };
        let (mut families, mut samples) = (BTreeSet::new(), BTreeSet::new());
        let (mut family, mut helped) = ("", "");
        for line in text.lines() {
            if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|l| l.split_once(' '))
            {
                assert!(is_name(name) && families.insert(name), "{line}");
                assert!(!help.is_empty() && !help.contains('\\'), "{line}");
                helped = name;
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a name and a type");
                assert_eq!(name, helped);
                assert!(matches!(kind, "counter" | "gauge"), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                family = name;
            } else {
                let (sample, value) = line.split_once(' ').expect("a sample and a value");
                assert!(samples.insert(sample), "{line} stands twice");
                assert!(value.parse::<u64>().is_ok(), "{line}");
                let (name, labels) = sample.split_once('{').unwrap_or((sample, "a=\"\"}"));
                assert_eq!(name, family, "{line}");
                let label = labels.strip_suffix("\"}").and_then(|l| l.split_once("=\""));
                let (label, value) = label.expect("one label");
                assert!(label.bytes().all(|b| b.is_ascii_lowercase()), "{line}");
                assert!(!value.contains(['"', '\\']), "{line}");
            }
        }
        for line in [
            "oneloop_responses_total{class=\"2xx\"} 1",
            "oneloop_responses_total{class=\"5xx\"} 1",
            "oneloop_connections 2",
            "oneloop_connections_closed_total{cause=\"cut_off\"} 1",
            "oneloop_answers_cut_off_total{cause=\"cut_off\"} 1",
            "oneloop_memory_max_bytes 10",
            "oneloop_effects_queued 7",
            "oneloop_cache_lookups_total{result=\"hit\"} 8",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}: {text}");
        }
    }

    #[test]
    fn only_clients_on_this_machine_may_ask_unless_all_may() {
        for (address, is_local) in [
            ("127.0.0.1:5", true),
            ("127.1.2.3:5", true),
            ("[::1]:5", true),
            ("[::ffff:127.0.0.1]:5", true),
            ("192.0.2.1:5", false),
            ("[::ffff:192.0.2.1]:5", false),
            ("[2001:db8::1]:5", false),
        ] {
            let peer = address.parse().expect("an address");
            let is_let_in = |audience| denial(audience, peer).is_none();
            assert_eq!(is_let_in(Metrics::Loopback), is_local, "{address}");
            assert!(is_let_in(Metrics::Any));
        }
    }
}
