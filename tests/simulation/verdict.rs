//! The verdict over a client, which is the oracle of the simulation: whether the client has
//! received the right bytes.
//!
//! In the bytes of an answer only the date and the boundary of a multipart may differ between two
//! runs. In a stop, the last answer also says that the connection ends. WebSocket messages have
//! been checked against the sent ones on arrival ([`Talk`](crate::talk::Talk)). Here the end of a
//! session is judged, and, in [`rooms`](crate::rooms), the facts about a room that are known only
//! at the end of a run.

use memchr::memmem;
use oneloop::config::{Limits, SlowMember};

use crate::clients::Client;
use crate::weather::LINGER_BYTES_MAX;

/// What the limits may do to clients that talk.
#[derive(Clone, Copy, Debug)]
pub struct Hardship {
    /// Memory is too short for long compressed messages.
    is_short: bool,
    /// A member may miss messages of a room.
    pub may_miss: bool,
    /// A member that would miss a message is closed instead.
    may_be_closed: bool,
}

impl Hardship {
    pub fn of(limits: &Limits) -> Hardship {
        const ENOUGH: usize = 1 << 20;
        let is_short = limits.memory_bytes_max < ENOUGH;
        let may_miss = is_short || limits.write_buffer_max < ENOUGH as u64;
        Hardship {
            is_short,
            may_miss,
            may_be_closed: may_miss && limits.slow_member == SlowMember::Close,
        }
    }

    /// Whether the limits have ended the client's session.
    pub fn has_ended(self, client: &Client) -> bool {
        let talk = &client.talk;
        let may_end = self.is_short && talk.offers || self.may_be_closed && talk.hears_others();
        let was_lost = client.was_cut_short && says_on(client);
        may_end && (talk.close == Some(Some(1013)) || (talk.close.is_none() && was_lost))
    }
}

/// Whether the client may have more to send, when told that the session is over, than the server
/// reads and throws away before a reset.
fn says_on(client: &Client) -> bool {
    client.talk.sent_bytes > LINGER_BYTES_MAX
}

/// Compares the bytes that a client has received with those of calm weather.
pub fn judge(client: &Client, expected: &[u8], stops: usize, hardship: Hardship) {
    let (script, received) = (&client.script, client.answered());
    let may_be_cut = client.is_excused
        || script.loses
        || stops > 1
        || (stops == 1 && (!script.is_cooperative || says_on(client)))
        || hardship.has_ended(client);
    let is_right = if !script.is_exact() {
        true
    } else if stops == 0 && !may_be_cut {
        timeless(received) == timeless(expected)
    } else {
        let (mut got, all) = (answers(received), answers(expected));
        if may_be_cut {
            // The last answer may be partial, or even a refusal.
            got.pop();
        }
        all.starts_with(&got)
    };
    let is_whole = match stops {
        _ if may_be_cut => true,
        0 => !client.was_cut_short && !client.has_half_a_frame(),
        _ => client.has_what_was_promised(),
    };
    let (status, shown) = (client.status(), received.escape_ascii());
    assert!(is_right, "a wrong answer: {status} has received {shown}");
    assert!(
        is_whole,
        "an answer is missing: {status} has received {shown}"
    );
    if client.talk.is_on {
        judge_close(client, stops, may_be_cut, hardship);
    }
}

/// A session ends with the close frame that the script waits for, or with a close frame that says
/// why not.
fn judge_close(client: &Client, stops: usize, may_be_cut: bool, hardship: Hardship) {
    let (script, close) = (&client.script, client.talk.close);
    let is_right = match close {
        None => may_be_cut || script.close().is_none(),
        Some(Some(1001)) if stops > 0 => true,
        // Another client needed the slot, or the client gives no sign of life.
        Some(Some(1001 | 1011)) if client.is_excused => true,
        Some(_) => close == script.close() || hardship.has_ended(client),
    };
    assert!(
        is_right,
        "a wrong close: {} has received {close:?}",
        client.status()
    );
}

/// The answers one by one, without the parts that depend on the moment.
fn answers(bytes: &[u8]) -> Vec<Vec<u8>> {
    let bytes = timeless(bytes);
    let mut begins: Vec<usize> = memmem::find_iter(&bytes, b"HTTP/1.1 ").collect();
    begins.push(bytes.len());
    let answers = begins.windows(2).map(|ends| &bytes[ends[0]..ends[1]]);
    answers.map(without_connection).collect()
}

/// An answer without its `Connection` field, which differs in a stop.
fn without_connection(answer: &[u8]) -> Vec<u8> {
    let mut answer = answer.to_vec();
    while let Some(at) = memmem::find(&answer, b"Connection: ") {
        let end = answer[at..].iter().position(|b| *b == b'\n');
        answer.drain(at..end.map_or(answer.len(), |end| at + end + 1));
    }
    answer
}

/// The same bytes with dashes for dates, and for the boundaries of multiparts, which are numbered.
fn timeless(bytes: &[u8]) -> Vec<u8> {
    let mut text = bytes.to_vec();
    for (before, length) in [("\r\nDate: ", 29), ("boundary=", 20), ("\r\n--", 20)] {
        let places: Vec<usize> = memmem::find_iter(bytes, before).collect();
        for at in places {
            let begin = at + before.len();
            let end = bytes.len().min(begin + length);
            text[begin..end].fill(b'-');
        }
    }
    text
}
