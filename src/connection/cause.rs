//! Floor 3, connection: the causes for which connections end, and how often each occurred.

use std::fmt;
use std::io;

use crate::http::Status;
use crate::transport::Calls;

/// Why a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// The peer closed the connection between two requests, or ended a WebSocket connection.
    PeerClosed,
    /// The last answer was given: the peer or the server did not want another request.
    LastAnswer,
    /// The peer broke the protocol, exceeded a limit, or sent a body that the server does not read.
    Refused,
    /// The handshake of TLS has failed: the peer speaks no TLS, or does not trust the certificate.
    Handshake,
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
    /// The peer reset the connection.
    Reset,
    /// A file changed or ended too early while its body was sent.
    FileChanged,
    /// The backend that was to answer has failed after the beginning of its answer.
    Backend,
    /// The connection failed in another way, such as a network that does not answer.
    Failed,
}

impl Cause {
    /// The cause of an end with this error of a read or a write. A file with fewer bytes than its answer
    /// has promised gives `UnexpectedEof`.
    pub(super) fn of(error: &io::Error) -> Cause {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Cause::Reset,
            // The FIN found that the peer has reset the connection.
            io::ErrorKind::NotConnected => Cause::Reset,
            io::ErrorKind::UnexpectedEof => Cause::FileChanged,
            // A peer that speaks TLS wrongly.
            io::ErrorKind::InvalidData => Cause::Refused,
            _ => Cause::Failed,
        }
    }

    /// Every cause, in the order of their declaration.
    pub(crate) fn all() -> impl Iterator<Item = Cause> {
        Cause::WORDS.into_iter().map(|(cause, ..)| cause)
    }

    /// The cause with this number in the order of their declaration.
    pub(super) fn from_number(number: usize) -> Option<Cause> {
        Cause::WORDS.get(number).map(|(cause, ..)| *cause)
    }

    /// The name in the metrics, such as `peer_closed`.
    pub fn name(self) -> &'static str {
        Cause::WORDS[self as usize].1
    }

    /// The words in the summary, such as `closed by the peer`.
    pub fn words(self) -> &'static str {
        Cause::WORDS[self as usize].2
    }

    const COUNT: usize = Cause::Failed as usize + 1;

    /// Every cause, in order, with its name in the metrics and its words in the summary.
    const WORDS: [(Cause, &str, &str); Cause::COUNT] = [
        (Cause::PeerClosed, "peer_closed", "closed by the peer"),
        (Cause::LastAnswer, "last_answer", "after the last answer"),
        (Cause::Refused, "refused", "refused"),
        (Cause::Handshake, "handshake", "failed in the handshake"),
        (Cause::Idle, "idle", "idle"),
        (Cause::Late, "late", "timed out"),
        (Cause::Stalled, "stalled", "stalled"),
        (Cause::Overloaded, "overloaded", "closed under overload"),
        (Cause::Finished, "finished", "closed by an endpoint"),
        (Cause::Unresponsive, "unresponsive", "unresponsive"),
        (Cause::Stopped, "stopped", "stopped"),
        (Cause::CutOff, "cut_off", "cut off at the stop"),
        (Cause::Reset, "reset", "reset by the peer"),
        (
            Cause::FileChanged,
            "file_changed",
            "cut off by a changed file",
        ),
        (Cause::Backend, "backend", "cut off by a failed backend"),
        (Cause::Failed, "failed", "failed"),
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
    /// Failures to accept for want of descriptors or memory, after which accepting paused.
    pub accepts_failed: u64,
    /// Messages that members of rooms have missed because their write buffers were full.
    pub missed: u64,
    /// Bytes received from all peers.
    pub received_bytes: u64,
    /// Bytes sent to all peers.
    pub sent_bytes: u64,
    /// WebSocket messages received.
    pub messages_received: u64,
    /// WebSocket messages queued for their recipients; a message to a room counts once for each member.
    pub messages_sent: u64,
    /// Requests handed to endpoints.
    pub asked: u64,
    /// Connections to backends that were begun.
    pub backend_connections: u64,
    /// Requests that were sent to a backend on a connection that was kept from before.
    pub backend_reuses: u64,
    /// Requests that no backend has answered: 502 and 504.
    pub backend_failures: u64,
    /// Turns of the loop.
    pub turns: u64,
    /// The work of all turns, in units of [`Limits::turn_work`](crate::config::Limits::turn_work).
    pub work: u64,
    /// The most work of a turn.
    pub turn_work_most: u64,
    /// Events that the waits of the loop have returned.
    pub events: u64,
    /// Calls of read(2) on connections.
    pub reads: u64,
    /// Those that found no byte (`EAGAIN`).
    pub read_blocks: u64,
    /// Calls of write(2), writev(2) and sendfile(2) on connections.
    pub writes: u64,
    /// Those that found no space (`EAGAIN`).
    pub write_blocks: u64,
    /// How often a connection had used up its share of a turn, and went on in a later one.
    pub budgets_spent: u64,
    /// How often a connection had to wait because the queue of effects was full.
    pub throttled: u64,
    /// Lines of the access log and warnings that were dropped, because the reader was too slow; as of the
    /// last turn with a line for the log.
    pub lines_dropped: u64,
    /// The responses of each class, beginning with 1xx.
    responses: [u64; 5],
    closed: [u64; Cause::COUNT],
    /// Of these, the connections with a request that had no whole answer yet.
    interrupted: [u64; Cause::COUNT],
}

impl Counters {
    /// Returns how many connections have ended with `cause`.
    pub fn closed(&self, cause: Cause) -> u64 {
        self.closed[cause as usize]
    }

    /// The causes, each with its name in the metrics, such as `peer_closed`, and how many connections have
    /// ended with it.
    pub fn closed_by_cause(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let causes = Cause::WORDS.into_iter();
        causes.map(|(cause, name, _)| (name, self.closed(cause)))
    }

    /// Returns how many responses had a status of this class, from 1 to 5: 2 stands for 200 to 299. The
    /// only responses of class 1 that count are the switches to WebSocket (101).
    pub fn responses(&self, class: u16) -> u64 {
        self.responses[Self::index(class)]
    }

    fn index(class: u16) -> usize {
        usize::from(class).saturating_sub(1).min(4)
    }

    /// Returns how many connections are open.
    pub fn open(&self) -> u64 {
        self.connections - self.closed.iter().sum::<u64>()
    }

    /// Counts a response.
    #[inline]
    pub(crate) fn count_response(&mut self, status: Status) {
        // The usual status needs no look into the table of codes.
        match status {
            Status::Ok => self.responses[1] += 1,
            other => self.count_code(other.code()),
        }
    }

    /// Counts a response with any status code.
    #[inline(never)]
    pub(super) fn count_code(&mut self, code: u16) {
        self.responses[Self::index(code / 100)] += 1;
    }

    /// Adds the work of a turn.
    #[inline]
    pub(crate) fn add_work(&mut self, units: u64) {
        self.work += units;
        self.turn_work_most = self.turn_work_most.max(units);
    }

    /// Adds system calls.
    #[inline]
    pub(super) fn add_calls(&mut self, calls: Calls) {
        self.reads += u64::from(calls.reads);
        self.read_blocks += u64::from(calls.read_blocks);
        self.writes += u64::from(calls.writes);
        self.write_blocks += u64::from(calls.write_blocks);
    }

    /// Returns how many connections have ended with `cause` while a request had no whole answer yet.
    pub fn interrupted(&self, cause: Cause) -> u64 {
        self.interrupted[cause as usize]
    }

    /// Counts the end of a connection. `interrupted`: a request had no whole answer yet.
    pub(crate) fn count(&mut self, cause: Cause, interrupted: bool) {
        self.closed[cause as usize] += 1;
        self.interrupted[cause as usize] += u64::from(interrupted);
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |n: u64| if n == 1 { "" } else { "s" };
        let (requests, connections) = (self.requests, self.connections);
        write!(f, "{requests} request{}", plural(requests))?;
        write!(f, " on {connections} connection{}", plural(connections))?;
        let mut separator = ": ";
        for (cause, _, words) in Cause::WORDS {
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
        counters.count(Cause::Idle, false);
        counters.count(Cause::PeerClosed, false);
        counters.count(Cause::PeerClosed, false);
        assert_eq!(
            counters.to_string(),
            "1 request on 3 connections: 2 closed by the peer, 1 idle"
        );
        for (at, (cause, ..)) in Cause::WORDS.into_iter().enumerate() {
            assert_eq!(cause as usize, at);
        }
    }
}
