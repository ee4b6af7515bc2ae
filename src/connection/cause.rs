//! Floor 4, connection: why connections end, counted.

use std::fmt;

/// Why a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// The peer closed it between two requests.
    PeerClosed,
    /// The last answer was given: one side did not want another.
    LastAnswer,
    /// What came was no request, or its body was not wanted.
    Refused,
    /// No request came.
    Idle,
    /// A request did not come whole in time.
    Late,
    /// Output was not taken in time.
    Stalled,
    /// Others needed the room.
    Overloaded,
    /// An endpoint has closed it.
    Finished,
    /// A WebSocket peer gave no sign of life.
    Unresponsive,
    /// The server stopped.
    Stopped,
    /// It was reset, or the file that was being sent ended too early.
    Failed,
}

impl Cause {
    const COUNT: usize = Cause::Failed as usize + 1;

    /// All of them, in order, with the words for a summary.
    const WORDS: [(Cause, &str); Cause::COUNT] = [
        (Cause::PeerClosed, "closed by the peer"),
        (Cause::LastAnswer, "after the last answer"),
        (Cause::Refused, "refused"),
        (Cause::Idle, "idle"),
        (Cause::Late, "late"),
        (Cause::Stalled, "stalled"),
        (Cause::Overloaded, "overloaded"),
        (Cause::Finished, "closed by an endpoint"),
        (Cause::Unresponsive, "unresponsive"),
        (Cause::Stopped, "stopped"),
        (Cause::Failed, "failed"),
    ];
}

/// What has happened since the start.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    /// Connections accepted.
    pub connections: u64,
    /// Request heads received whole.
    pub requests: u64,
    /// Connections turned away at once: not even a refusal could be afforded.
    pub shed: u64,
    /// Messages that members of rooms have missed, since they did not take those before.
    pub missed: u64,
    closed: [u64; Cause::COUNT],
}

impl Counters {
    /// How many connections have ended because of `cause`.
    pub fn closed(&self, cause: Cause) -> u64 {
        self.closed[cause as usize]
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
            write!(f, "{separator}{} shed", self.shed)?;
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
