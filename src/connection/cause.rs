//! Floor 3, connection: the causes for which connections end, and how often each occurred.

use std::fmt;

/// Why a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// The peer closed the connection between two requests, or ended a WebSocket connection.
    PeerClosed,
    /// The last answer was given: the peer or the server did not want another request.
    LastAnswer,
    /// The peer broke the protocol, exceeded a limit, or sent a body that the server does not read.
    Refused,
    /// No request came in time.
    Idle,
    /// A request did not come whole in time.
    Late,
    /// The peer did not take output in time, or did not take a broadcast (with
    /// [`SlowMember::Close`](crate::config::SlowMember::Close)).
    Stalled,
    /// Memory or connections were short.
    Overloaded,
    /// An endpoint closed the connection.
    Finished,
    /// A WebSocket peer gave no sign of life.
    Unresponsive,
    /// The server stopped.
    Stopped,
    /// The server stopped before the last byte of an answer was sent: the time of the stop was
    /// over, or a second signal came.
    CutOff,
    /// The connection was reset, or a file changed or ended too early while its body was sent.
    Failed,
}

impl Cause {
    const COUNT: usize = Cause::Failed as usize + 1;

    /// Every cause, in order, with its words in the summary.
    const WORDS: [(Cause, &str); Cause::COUNT] = [
        (Cause::PeerClosed, "closed by the peer"),
        (Cause::LastAnswer, "after the last answer"),
        (Cause::Refused, "refused"),
        (Cause::Idle, "idle"),
        (Cause::Late, "timed out"),
        (Cause::Stalled, "stalled"),
        (Cause::Overloaded, "closed under overload"),
        (Cause::Finished, "closed by an endpoint"),
        (Cause::Unresponsive, "unresponsive"),
        (Cause::Stopped, "stopped"),
        (Cause::CutOff, "cut off at the stop"),
        (Cause::Failed, "failed"),
    ];
}

/// The counts of events since the start.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    /// Accepted connections.
    pub connections: u64,
    /// Request heads received whole.
    pub requests: u64,
    /// Connections closed at once without an answer, because too many connections were waiting for
    /// their 503 already.
    pub shed: u64,
    /// Messages that members of rooms have missed because their write buffers were full.
    pub missed: u64,
    closed: [u64; Cause::COUNT],
}

impl Counters {
    /// Returns how many connections have ended with `cause`.
    pub fn closed(&self, cause: Cause) -> u64 {
        self.closed[cause as usize]
    }

    /// Returns how many connections are open.
    pub fn open(&self) -> u64 {
        self.connections - self.closed.iter().sum::<u64>()
    }

    pub(crate) fn count(&mut self, cause: Cause) {
        self.closed[cause as usize] += 1;
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |n: u64| if n == 1 { "" } else { "s" };
        let (requests, connections) = (self.requests, self.connections);
        write!(f, "{requests} request{}", plural(requests))?;
        write!(f, " on {connections} connection{}", plural(connections))?;
        let mut separator = ": ";
        for (cause, words) in Cause::WORDS {
            if self.closed(cause) > 0 {
                write!(f, "{separator}{} {words}", self.closed(cause))?;
                separator = ", ";
            }
        }
        if self.shed > 0 {
            write!(f, "{separator}{} dropped without an answer", self.shed)?;
        }
        if self.missed > 0 {
            let missed = self.missed;
            write!(
                f,
                "; {missed} message{} missed by slow members",
                plural(missed)
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_says_what_happened_and_nothing_else() {
        let mut counters = Counters::default();
        assert_eq!(counters.to_string(), "0 requests on 0 connections");
        (counters.requests, counters.connections) = (1, 3);
        counters.count(Cause::Idle);
        counters.count(Cause::PeerClosed);
        counters.count(Cause::PeerClosed);
        assert_eq!(
            counters.to_string(),
            "1 request on 3 connections: 2 closed by the peer, 1 idle"
        );
        for (at, (cause, _)) in Cause::WORDS.into_iter().enumerate() {
            assert_eq!(cause as usize, at);
        }
    }
}
